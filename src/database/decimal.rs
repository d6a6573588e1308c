//! Decimal numbers as their digits: never through a float.

/// The parts of a number such as `-0012.50`, without zeros that say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits<'a> {
    /// Whether it has a minus sign.
    pub negative: bool,
    /// Digits before the point, without leading zeros; may be empty.
    pub whole: &'a str,
    /// Digits after the point, without trailing zeros; may be empty.
    pub fraction: &'a str,
}

impl<'a> Digits<'a> {
    /// Reads digits with an optional sign and point. No exponent, no `NaN`, no `Infinity`.
    pub fn parse(text: &'a str) -> Option<Digits<'a>> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return None;
        }
        Some(Digits {
            negative,
            whole: whole.trim_start_matches('0'),
            fraction: fraction.trim_end_matches('0'),
        })
    }

    /// Whether it can be stored with `precision` digits, `scale` of them after the point, without a change.
    pub fn fits(&self, precision: Option<u16>, scale: Option<u16>) -> bool {
        let scale_fits = scale.is_none_or(|scale| self.fraction.len() <= scale.into());
        // numeric(5,2) holds 999.99: what the scale takes is lost to the whole part.
        let whole_fits = precision.is_none_or(|precision| match scale {
            Some(scale) => self.whole.len() + usize::from(scale) <= precision.into(),
            None => self.whole.len() + self.fraction.len() <= precision.into(),
        });
        scale_fits && (whole_fits || self.whole.is_empty())
    }

    /// Digits from the first to the last that is not zero.
    pub fn significant(&self) -> usize {
        if self.whole.is_empty() {
            self.fraction.trim_start_matches('0').len()
        } else if self.fraction.is_empty() {
            self.whole.trim_end_matches('0').len()
        } else {
            self.whole.len() + self.fraction.len()
        }
    }

    /// The whole number that it is, if it is one and fits.
    pub fn to_i64(&self) -> Option<i64> {
        if !self.fraction.is_empty() {
            return None;
        }
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}0{}", self.whole).parse().ok()
    }

    /// Whether it is a whole number from 0 to 2^64 - 1.
    pub fn is_u64(&self) -> bool {
        let zero = self.whole.is_empty() && self.fraction.is_empty();
        self.fraction.is_empty() && (zero || !self.negative) && format!("0{}", self.whole).parse::<u64>().is_ok()
    }
}

/// The shortest digits that a float is read back from unchanged; `None` for NaN and the infinities.
///
/// This is what SQLite's users mean by a decimal in a NUMERIC column, which SQLite stores as a float.
pub fn from_f64(value: f64) -> Option<String> {
    // Rust's Display of floats writes the shortest digits that round-trip, and never an exponent.
    value.is_finite().then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_fits_only_without_losing_a_digit() {
        let fits =
            |text: &str, precision: u16, scale: u16| Digits::parse(text).unwrap().fits(Some(precision), Some(scale));
        assert!(fits("-999.99", 5, 2) && fits("0001.500", 5, 2) && fits("0.00", 2, 2) && fits("0.25", 2, 2));
        assert!(!fits("1000", 5, 2) && !fits("1.005", 5, 2) && !fits("1.0", 2, 2));
        assert!(Digits::parse("123456.789").unwrap().fits(Some(9), None));
    }

    #[test]
    fn what_is_not_plain_digits_is_refused() {
        for text in ["", ".", "-", "1e5", "NaN", "Infinity", "1,5", " 1", "0x10", "１"] {
            assert_eq!(Digits::parse(text), None, "{text}");
        }
        assert_eq!(Digits::parse("+.5").unwrap().fraction, "5");
    }

    #[test]
    fn whole_numbers_are_told_apart_at_their_bounds() {
        let digits = |text| Digits::parse(text).unwrap();
        assert_eq!(digits("-9223372036854775808.000").to_i64(), Some(i64::MIN));
        assert_eq!(digits("9223372036854775808").to_i64(), None);
        assert!(digits("18446744073709551615").is_u64() && !digits("18446744073709551616").is_u64());
        assert!(!digits("-1").is_u64() && digits("-0").is_u64() && !digits("1.5").is_u64());
    }

    #[test]
    fn significant_digits_leave_out_zeros_at_both_ends() {
        let significant = |text| Digits::parse(text).unwrap().significant();
        assert_eq!(
            [
                significant("1200"),
                significant("0.0012"),
                significant("10.01"),
                significant("0")
            ],
            [2, 2, 4, 0]
        );
    }

    #[test]
    fn a_float_becomes_its_shortest_digits() {
        assert_eq!(from_f64(1.1).as_deref(), Some("1.1"));
        assert_eq!(from_f64(1e21).as_deref(), Some("1000000000000000000000"));
        assert_eq!(from_f64(f64::NAN), None);
    }
}
