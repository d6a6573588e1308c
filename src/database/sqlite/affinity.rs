//! What SQLite makes of a value on its way into a column: the affinity of the column's type may change its class.
//!
//! Rules: SQLite documentation, "Datatypes In SQLite", section 3. Pure.

/// What a column does with values of another class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    /// Numbers become text.
    Text,
    /// Text that is a number becomes one, real numbers without a fraction become integers.
    Numeric,
    /// As [`Affinity::Numeric`]; the two differ in CAST alone.
    Integer,
    /// Text that is a number becomes one, integers become real numbers.
    Real,
    /// Nothing.
    Blob,
}

impl Affinity {
    /// The affinity of a declared type; the first of the five rules that applies.
    pub(super) fn of(declared: &str) -> Affinity {
        let upper = declared.to_ascii_uppercase();
        let has = |part: &str| upper.contains(part);
        if has("INT") {
            Affinity::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Affinity::Text
        } else if has("BLOB") || declared.is_empty() {
            Affinity::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }

    /// Whether text that looks like a number becomes one.
    pub(super) fn is_numeric(self) -> bool {
        matches!(self, Affinity::Numeric | Affinity::Integer | Affinity::Real)
    }
}

/// Whether SQLite takes the text for a number: digits with a sign, a point and an exponent, with white space around.
pub(super) fn looks_numeric(text: &[u8]) -> bool {
    let is_space = |byte: u8| byte == b' ' || (b'\t'..=b'\r').contains(&byte);
    let skip = |text: &mut &[u8], what: &dyn Fn(u8) -> bool| {
        let count = text.iter().take_while(|byte| what(**byte)).count();
        *text = &text[count..];
        count
    };
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let mut rest = text;
    skip(&mut rest, &is_space);
    let sign = |rest: &mut &[u8]| {
        if let [b'+' | b'-', after @ ..] = *rest {
            *rest = after;
        }
    };
    sign(&mut rest);
    let mut digits = skip(&mut rest, &is_digit);
    if let [b'.', after @ ..] = rest {
        rest = after;
        digits += skip(&mut rest, &is_digit);
    }
    if digits == 0 {
        return false;
    }
    if let [b'e' | b'E', after @ ..] = rest {
        rest = after;
        sign(&mut rest);
        if skip(&mut rest, &is_digit) == 0 {
            return false;
        }
    }
    skip(&mut rest, &is_space);
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_applies_gives_the_affinity() {
        for (declared, affinity) in [
            ("INTEGER", Affinity::Integer),
            ("FLOATING POINT", Affinity::Integer),
            ("nvarchar(20)", Affinity::Text),
            ("DECIMAL_TEXT(38,10)", Affinity::Text),
            ("", Affinity::Blob),
            ("double precision", Affinity::Real),
            ("STRING", Affinity::Numeric),
            ("DECIMAL(10,2)", Affinity::Numeric),
            ("JSON", Affinity::Numeric),
        ] {
            assert_eq!(Affinity::of(declared), affinity, "{declared}");
        }
    }

    #[test]
    fn text_that_sqlite_turns_into_a_number_is_told_apart() {
        for text in [
            "00123",
            " 1.0",
            "-.5",
            "+1e3",
            "1.",
            "7\n",
            "1E-5",
            "9999999999999999999999",
        ] {
            assert!(looks_numeric(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            " ",
            ".",
            "-",
            "1e",
            "e5",
            "0x10",
            "1 2",
            "1,5",
            "2024-01-01",
            "Infinity",
            "NaN",
            "1\0",
            "{}",
        ] {
            assert!(!looks_numeric(text.as_bytes()), "{text}");
        }
    }
}
