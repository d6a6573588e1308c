use super::*;
use crate::database::decimal;

/// Numbers that look random and are the same each time (xorshift).
fn numbers() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(0x9E37_79B9_7F4A_7C15_u64), |state| {
        let mut state = *state;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    })
    .take(50_000)
}

fn real(value: f64, scale: u16) -> Option<String> {
    let mut out = Vec::new();
    push_real(value, scale, &mut out).then(|| String::from_utf8(out).unwrap())
}

#[test]
fn a_real_number_has_the_same_digits_as_by_the_slow_way() {
    let special = [
        0.0,
        -0.0,
        0.1,
        -1.5,
        1e15,
        999_999_999_999_999.9,
        123_456_789_012.34,
        4.35,
        5e-324,
        f64::MAX,
        1e21,
        0.005,
        1.005,
        f64::NAN,
        f64::NEG_INFINITY,
    ];
    let cents = numbers().map(|number| (number % 10_000_000_000) as f64 / 100.0);
    let any = numbers().map(f64::from_bits);
    for value in special.into_iter().chain(cents).chain(any) {
        for scale in [0, 2, 4, 40] {
            assert_eq!(
                real(value, scale),
                decimal::from_f64(value),
                "{value:e} at scale {scale}"
            );
        }
    }
}

#[test]
fn a_number_is_read_as_by_the_slow_way_and_back_to_its_digits() {
    let texts = numbers().map(|number| {
        let (digits, scale) = (
            number % 10_u64.pow((number >> 60) as u32 + 2),
            (number >> 56) as usize % 8,
        );
        let text = format!("{digits:0width$}", width = scale + 1);
        let (whole, fraction) = text.split_at(text.len() - scale);
        let sign = if number % 3 == 0 { "-" } else { "" };
        format!("{sign}{whole}{}{fraction}", if scale == 0 { "" } else { "." })
    });
    for text in texts {
        let number = Number::parse_fast(&text);
        assert_eq!(number, Number::parse(&text), "{text}");
        let Some(Number::Real(value)) = number else { continue };
        let (left, right) = (decimal::from_f64(value).unwrap(), text);
        assert_eq!(Digits::parse(&left), Digits::parse(&right));
    }
}

#[test]
fn digits_that_no_column_of_numbers_keeps_are_none() {
    assert_eq!(
        Number::parse_fast("9223372036854775807"),
        Some(Number::Integer(i64::MAX))
    );
    assert_eq!(Number::parse_fast("17.00"), Some(Number::Integer(17)));
    assert_eq!(Number::parse_fast("-0.50"), Some(Number::Real(-0.5)));
    assert_eq!(Number::parse_fast("100000000000000000000"), Some(Number::Real(1e20)));
    for text in [
        "1234567890.1234567",
        "",
        ".",
        "-",
        "NaN",
        "1e5",
        "123456789012345678901",
    ] {
        assert_eq!(Number::parse_fast(text), None, "{text}");
    }
}

#[test]
fn dates_and_times_are_read_and_spelled_as_by_the_slow_way() {
    let texts = [
        "2024-02-29",
        "0001-01-01",
        "9999-12-31",
        "2023-02-29",
        "0000-00-00",
        "2024-1-01",
        "2024-01-01x",
        "２024-01-01",
        "12:34:56",
        "12:34",
        "-838:59:59.5",
        "23:59:59.999999999",
        "24:00:00",
        "12:34:56.1234567890",
        "12:34:60",
        "2024-02-29 12:34:56.000001",
        "2024-02-29T12:34:56",
        "2024-02-29 12:34",
        "2024-02-29 24:00:00",
        "2024-02-29 12:34:56.",
        "2024-02-29 12:34:56Z",
        "2024-02-29 12:34:56.5+05:45",
        "2024-02-29 12:34:56-0130",
        "1890-01-01 00:53:28+00:53:28",
        "2024-02-29 12:34:56+1:30",
        "",
        "é",
    ];
    for text in texts {
        let bytes = text.as_bytes();
        let mut spelled = Spelled::default();
        let shown = |spelled: &Spelled| String::from_utf8(spelled.bytes().to_vec()).unwrap();
        assert_eq!(date(bytes), Date::parse(text), "{text}");
        if let Some(date) = date(bytes) {
            assert!(spelled.date(date));
            assert_eq!(shown(&spelled), date.to_string());
        }
        assert_eq!(time(bytes), Time::parse(text), "{text}");
        if let Some(time) = time(bytes) {
            assert!(spelled.time(time));
            assert_eq!(shown(&spelled), time.to_string());
        }
        assert_eq!(timestamp(bytes), Timestamp::parse(text), "{text}");
        if let Some(timestamp) = timestamp(bytes) {
            assert!(spelled.timestamp(timestamp));
            assert_eq!(shown(&spelled), timestamp.to_string());
        }
        let utc = |local| OffsetTimestamp {
            local,
            offset_minutes: 0,
        };
        let slow = OffsetTimestamp::parse(text).or_else(|| Timestamp::parse(text).map(utc));
        assert_eq!(instant(bytes), slow, "{text}");
        if let Some(instant) = instant(bytes) {
            assert!(spelled.instant(instant));
            assert_eq!(shown(&spelled), instant.to_string());
        }
    }
    for date in [Date::INFINITY, Date::NEGATIVE_INFINITY] {
        assert!(!Spelled::default().date(date));
    }
}
