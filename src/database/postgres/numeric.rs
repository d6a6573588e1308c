//! PostgreSQL's numeric: its binary form, groups of four digits, from and to decimal text.
//!
//! The form: `numeric_send` and `numeric_recv` in PostgreSQL's numeric.c: number of groups, weight of the first one in
//! powers of 10,000, sign, digits after the point (16 bits each, big-endian), then the groups.

/// Signs, as numeric.c has them.
const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Most digits after the point that the binary form has room for.
const SCALE_MAX: usize = 0x3fff;

/// The four digits of each group.
static GROUPS: [[u8; 4]; 10_000] = {
    let mut groups = [[b'0'; 4]; 10_000];
    let mut number = 0;
    while number < 10_000 {
        groups[number] = [
            b'0' + (number / 1000) as u8,
            b'0' + (number / 100 % 10) as u8,
            b'0' + (number / 10 % 10) as u8,
            b'0' + (number % 10) as u8,
        ];
        number += 1;
    }
    groups
};

/// Appends the number as text, with as many digits after the point as the server would show; `NaN`, `Infinity` and
/// `-Infinity` for what is no number. False, and nothing appended, if the bytes are no numeric.
pub(super) fn to_text(binary: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((head, groups)) = binary.split_first_chunk::<8>() else {
        return false;
    };
    let field = |position: usize| u16::from_be_bytes([head[position], head[position + 1]]);
    let (count, weight, sign, scale) = (field(0), i32::from(field(2) as i16), field(4), usize::from(field(6)));
    let (groups, []) = groups.as_chunks::<2>() else {
        return false;
    };
    if groups.len() != usize::from(count) || groups.iter().any(|group| u16::from_be_bytes(*group) > 9_999) {
        return false;
    }
    match sign {
        POSITIVE => {}
        NEGATIVE => out.push(b'-'),
        NAN => {
            out.extend_from_slice(b"NaN");
            return true;
        }
        INFINITY => {
            out.extend_from_slice(b"Infinity");
            return true;
        }
        NEGATIVE_INFINITY => {
            out.extend_from_slice(b"-Infinity");
            return true;
        }
        _ => return false,
    }
    let group = |position: i32| {
        let group = usize::try_from(position).ok().and_then(|position| groups.get(position));
        &GROUPS[usize::from(group.map_or(0, |group| u16::from_be_bytes(*group)))]
    };
    if weight < 0 {
        out.push(b'0');
    } else {
        let first = group(0);
        let zeros = first[..3].iter().take_while(|digit| **digit == b'0').count();
        out.extend_from_slice(&first[zeros..]);
        for position in 1..=weight {
            out.extend_from_slice(group(position));
        }
    }
    if scale > 0 {
        out.push(b'.');
        let end = out.len() + scale;
        let mut position = weight + 1;
        while out.len() < end {
            let left = end - out.len();
            out.extend_from_slice(&group(position)[..left.min(4)]);
            position += 1;
        }
    }
    true
}

/// Appends the binary form of a number in text: digits with an optional sign and point, or `NaN`, `Infinity`, `-Infinity`.
/// False, and nothing appended, if the text is none, or has more digits after the point than the form has room for.
pub(super) fn from_text(text: &[u8], out: &mut Vec<u8>) -> bool {
    let special = match text {
        b"NaN" => Some(NAN),
        b"Infinity" => Some(INFINITY),
        b"-Infinity" => Some(NEGATIVE_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        out.extend_from_slice(&header(0, 0, sign, 0));
        return true;
    }
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (NEGATIVE, digits),
        [b'+', digits @ ..] => (POSITIVE, digits),
        digits => (POSITIVE, digits),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
    let are_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    if (whole.is_empty() && fraction.is_empty())
        || !are_digits(whole)
        || !are_digits(fraction)
        || fraction.len() > SCALE_MAX
    {
        return false;
    }
    let zeros = whole.iter().take_while(|digit| **digit == b'0').count();
    let whole = &whole[zeros..];
    let Ok(mut weight) = i16::try_from(whole.len().div_ceil(4) as isize - 1) else {
        return false;
    };
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    let number = |part: &[u8]| {
        part.iter()
            .fold(0_u16, |number, digit| number * 10 + u16::from(digit - b'0'))
    };
    // The groups begin at the point: the first of the whole part has what is left over.
    let (first, rest) = whole.split_at(whole.len() % 4);
    if !first.is_empty() {
        out.extend_from_slice(&number(first).to_be_bytes());
    }
    for group in rest.chunks_exact(4) {
        out.extend_from_slice(&number(group).to_be_bytes());
    }
    for group in fraction.chunks(4) {
        let value = number(group) * [1, 1000, 100, 10, 1][group.len()];
        if value == 0 && out.len() == start + 8 {
            // A zero in front says nothing.
            weight -= 1;
            continue;
        }
        out.extend_from_slice(&value.to_be_bytes());
    }
    // Nor do zeros at the end.
    while out.len() > start + 8 && out.ends_with(&[0, 0]) {
        out.truncate(out.len() - 2);
    }
    let count = (out.len() - start - 8) / 2;
    let (weight, sign) = if count == 0 { (0, POSITIVE) } else { (weight, sign) };
    out[start..start + 8].copy_from_slice(&header(count as u16, weight, sign, fraction.len() as u16));
    true
}

fn header(groups: u16, weight: i16, sign: u16, scale: u16) -> [u8; 8] {
    let [a, b] = groups.to_be_bytes();
    let [c, d] = weight.to_be_bytes();
    let [e, f] = sign.to_be_bytes();
    let [g, h] = scale.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(text: &str) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        let taken = from_text(text.as_bytes(), &mut out);
        assert!(out.starts_with(b"before"));
        taken.then(|| out.split_off(6))
    }

    fn text(binary: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        to_text(binary, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_binary_form_is_the_servers() {
        // What PostgreSQL 15 sends: `COPY (SELECT …::numeric) TO STDOUT (FORMAT binary)`.
        let cases: [(&str, &[u16]); 8] = [
            ("0", &[0, 0, 0, 0]),
            ("0.00", &[0, 0, 0, 2]),
            ("1.50", &[2, 0, 0, 2, 1, 5000]),
            ("-12345.678", &[3, 1, 0x4000, 3, 1, 2345, 6780]),
            ("10000", &[1, 1, 0, 0, 1]),
            ("0.00001234", &[1, 0xfffe, 0, 8, 1234]),
            ("NaN", &[0, 0, 0xC000, 0]),
            ("-Infinity", &[0, 0, 0xF000, 0]),
        ];
        for (number, units) in cases {
            let mut expected: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
            assert_eq!(binary(number).unwrap(), expected, "{number}");
            if number.ends_with("nity") {
                // The server puts a scale beside it that means nothing.
                expected[7] = 32;
            }
            assert_eq!(text(&expected).unwrap(), number);
        }
    }

    #[test]
    fn every_digit_survives_the_way_there_and_back() {
        let long = format!("{}.{}", "1234567890".repeat(30), "0000000987654321".repeat(20));
        let tiny = format!("0.{}5", "0".repeat(300));
        let round = format!("4{}", "0".repeat(131_071));
        for number in [
            "1",
            "-1",
            "9999",
            "99990000",
            "100000000.0001",
            "0.1",
            "0.0001",
            "0.00010",
            "12.3400",
        ]
        .into_iter()
        .chain([long.as_str(), tiny.as_str(), round.as_str()])
        {
            assert_eq!(text(&binary(number).unwrap()).unwrap(), number);
        }
    }

    #[test]
    fn signs_and_zeros_that_say_nothing_are_dropped() {
        for (number, plain) in [
            ("+1", "1"),
            ("-0.00", "0.00"),
            ("000012", "12"),
            (".5", "0.5"),
            ("7.", "7"),
        ] {
            assert_eq!(text(&binary(number).unwrap()).unwrap(), plain);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for number in ["", ".", "-", "1e5", "0x1", "1.2.3", " 1", "١"] {
            assert_eq!(binary(number), None, "{number}");
        }
        assert_eq!(binary(&format!("0.{}", "1".repeat(20_000))), None);
        for bytes in [
            &[][..],
            &[0; 7],
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &[0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        ] {
            assert_eq!(text(bytes), None);
        }
        assert_eq!(text(&[0, 0, 0, 0, 0x12, 0x34, 0, 0]), None);
    }
}
