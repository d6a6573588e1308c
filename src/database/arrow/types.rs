//! Arrow's types by their format strings, beside the logical types of columns.

use super::super::LogicalType;

/// The unit of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Second,
    /// Milliseconds.
    Milli,
    /// Microseconds.
    Micro,
    /// Nanoseconds.
    Nano,
}

impl Unit {
    /// The digits of a second's fraction that it has.
    pub fn digits(self) -> u8 {
        match self {
            Unit::Second => 0,
            Unit::Milli => 3,
            Unit::Micro => 6,
            Unit::Nano => 9,
        }
    }

    fn of_digits(digits: u8) -> Unit {
        if digits > 6 { Unit::Nano } else { Unit::Micro }
    }

    fn of_letter(letter: &str) -> Option<Unit> {
        Some(match letter {
            "s" => Unit::Second,
            "m" => Unit::Milli,
            "u" => Unit::Micro,
            "n" => Unit::Nano,
            _ => return None,
        })
    }

    fn letter(self) -> char {
        match self {
            Unit::Second => 's',
            Unit::Milli => 'm',
            Unit::Micro => 'u',
            Unit::Nano => 'n',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Second => "s",
            Unit::Milli => "ms",
            Unit::Micro => "us",
            Unit::Nano => "ns",
        }
    }
}

/// How the places of values of varying length are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// By their ends, in numbers of so many bytes.
    Ends(usize),
    /// By views, which have short values in them.
    Views,
}

/// A type of Arrow that a database's column may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing but NULLs.
    Null,
    /// True or false, a bit each.
    Boolean,
    /// Whole numbers of 8, 16, 32 or 64 bits.
    Integer {
        /// Their width.
        bits: u8,
        /// Whether they have a sign.
        signed: bool,
    },
    /// Floating-point numbers of 16, 32 or 64 bits.
    Float {
        /// Their width.
        bits: u8,
    },
    /// Decimals.
    Decimal {
        /// Most digits.
        precision: u16,
        /// Digits after the point; fewer than none for whole tens, hundreds and so on.
        scale: i16,
        /// Their width, 32, 64, 128 or 256.
        bits: u16,
    },
    /// Text in UTF-8.
    Text(Places),
    /// Bytes.
    Bytes(Places),
    /// So many bytes each.
    FixedBytes(usize),
    /// Days since 1970, or milliseconds of 64 bits that are whole days.
    Date {
        /// Whether they are milliseconds.
        in_millis: bool,
    },
    /// Times of day; seconds and milliseconds of 32 bits, others of 64.
    Time(Unit),
    /// Units since 1970, without a zone.
    Timestamp(Unit),
    /// Units since 1970 in UTC.
    Instant(Unit),
}

impl Type {
    /// Reads a format string.
    ///
    /// # Errors
    /// The type in words, if no database's column has its like.
    pub fn parse(format: &str) -> Result<Type, String> {
        let integer = |bits, signed| Ok(Type::Integer { bits, signed });
        match format {
            "n" => return Ok(Type::Null),
            "b" => return Ok(Type::Boolean),
            "c" => return integer(8, true),
            "C" => return integer(8, false),
            "s" => return integer(16, true),
            "S" => return integer(16, false),
            "i" => return integer(32, true),
            "I" => return integer(32, false),
            "l" => return integer(64, true),
            "L" => return integer(64, false),
            "e" => return Ok(Type::Float { bits: 16 }),
            "f" => return Ok(Type::Float { bits: 32 }),
            "g" => return Ok(Type::Float { bits: 64 }),
            "u" => return Ok(Type::Text(Places::Ends(4))),
            "U" => return Ok(Type::Text(Places::Ends(8))),
            "vu" => return Ok(Type::Text(Places::Views)),
            "z" => return Ok(Type::Bytes(Places::Ends(4))),
            "Z" => return Ok(Type::Bytes(Places::Ends(8))),
            "vz" => return Ok(Type::Bytes(Places::Views)),
            "tdD" => return Ok(Type::Date { in_millis: false }),
            "tdm" => return Ok(Type::Date { in_millis: true }),
            _ => {}
        }
        let refused = || Err(words(format));
        if let Some(sizes) = format.strip_prefix("d:") {
            let mut parts = sizes.split(',');
            let precision = parts.next().and_then(|text| text.parse().ok());
            let scale = parts.next().and_then(|text| text.parse().ok());
            let bits = parts.next().map_or(Some(128), |text| text.parse().ok());
            return match (precision, scale, bits) {
                (Some(precision), Some(scale), Some(bits @ (32 | 64 | 128 | 256))) => {
                    Ok(Type::Decimal { precision, scale, bits })
                }
                _ => refused(),
            };
        }
        if let Some(width) = format.strip_prefix("w:") {
            return width.parse().map(Type::FixedBytes).or_else(|_| refused());
        }
        if let Some(unit) = format.strip_prefix("tt").and_then(Unit::of_letter) {
            return Ok(Type::Time(unit));
        }
        if let Some((unit, zone)) = format.strip_prefix("ts").and_then(|rest| rest.split_once(':'))
            && let Some(unit) = Unit::of_letter(unit)
        {
            return Ok(match zone.is_empty() {
                true => Type::Timestamp(unit),
                false => Type::Instant(unit),
            });
        }
        refused()
    }

    /// The format string; points in time are told in UTC.
    pub fn format(&self) -> String {
        match self {
            Type::Null => "n".to_owned(),
            Type::Boolean => "b".to_owned(),
            Type::Integer { bits, signed } => {
                let letter = match bits {
                    8 => "c",
                    16 => "s",
                    32 => "i",
                    _ => "l",
                };
                if *signed {
                    letter.to_owned()
                } else {
                    letter.to_uppercase()
                }
            }
            Type::Float { bits: 16 } => "e".to_owned(),
            Type::Float { bits: 32 } => "f".to_owned(),
            Type::Float { .. } => "g".to_owned(),
            Type::Decimal {
                precision,
                scale,
                bits: 128,
            } => format!("d:{precision},{scale}"),
            Type::Decimal { precision, scale, bits } => format!("d:{precision},{scale},{bits}"),
            Type::Text(Places::Ends(4)) => "u".to_owned(),
            Type::Text(Places::Ends(_)) => "U".to_owned(),
            Type::Text(Places::Views) => "vu".to_owned(),
            Type::Bytes(Places::Ends(4)) => "z".to_owned(),
            Type::Bytes(Places::Ends(_)) => "Z".to_owned(),
            Type::Bytes(Places::Views) => "vz".to_owned(),
            Type::FixedBytes(width) => format!("w:{width}"),
            Type::Date { in_millis } => if *in_millis { "tdm" } else { "tdD" }.to_owned(),
            Type::Time(unit) => format!("tt{}", unit.letter()),
            Type::Timestamp(unit) => format!("ts{}:", unit.letter()),
            Type::Instant(unit) => format!("ts{}:UTC", unit.letter()),
        }
    }

    /// As Arrow's users call it.
    pub fn name(&self) -> String {
        match self {
            Type::Null => "null".to_owned(),
            Type::Boolean => "bool".to_owned(),
            Type::Integer { bits, signed } => format!("{}int{bits}", if *signed { "" } else { "u" }),
            Type::Float { bits: 16 } => "halffloat".to_owned(),
            Type::Float { bits: 32 } => "float".to_owned(),
            Type::Float { .. } => "double".to_owned(),
            Type::Decimal { precision, scale, bits } => format!("decimal{bits}({precision}, {scale})"),
            Type::Text(Places::Ends(4)) => "string".to_owned(),
            Type::Text(Places::Ends(_)) => "large_string".to_owned(),
            Type::Text(Places::Views) => "string_view".to_owned(),
            Type::Bytes(Places::Ends(4)) => "binary".to_owned(),
            Type::Bytes(Places::Ends(_)) => "large_binary".to_owned(),
            Type::Bytes(Places::Views) => "binary_view".to_owned(),
            Type::FixedBytes(width) => format!("fixed_size_binary[{width}]"),
            Type::Date { in_millis } => if *in_millis { "date64[ms]" } else { "date32[day]" }.to_owned(),
            Type::Time(unit) => {
                let bits = if unit.digits() < 6 { 32 } else { 64 };
                format!("time{bits}[{}]", unit.name())
            }
            Type::Timestamp(unit) => format!("timestamp[{}]", unit.name()),
            Type::Instant(unit) => format!("timestamp[{}, tz=UTC]", unit.name()),
        }
    }

    /// The type that is handed out for columns of this logical type, see [`super::Arrow`].
    ///
    /// # Errors
    /// Why there is none.
    pub fn of(logical: LogicalType) -> Result<Type, String> {
        Ok(match logical {
            LogicalType::Boolean => Type::Boolean,
            LogicalType::Integer { bits: 24, signed } => Type::Integer { bits: 32, signed },
            LogicalType::Integer { bits, signed } => Type::Integer { bits, signed },
            LogicalType::Decimal {
                precision: Some(precision),
                scale: Some(scale),
                ..
            } => {
                let precision = precision.max(scale).max(1);
                let bits = match precision {
                    ..=38 => 128,
                    39..=76 => 256,
                    _ => {
                        return Err(format!("the decimal has {precision} digits, Arrow's have 76 at most"));
                    }
                };
                Type::Decimal {
                    precision,
                    scale: scale as i16,
                    bits,
                }
            }
            LogicalType::Decimal { .. } => {
                return Err("the decimal has no declared precision and scale, which Arrow's need".to_owned());
            }
            LogicalType::Float { bits: 32 } => Type::Float { bits: 32 },
            LogicalType::Float { .. } => Type::Float { bits: 64 },
            LogicalType::Bytes { .. } => Type::Bytes(Places::Ends(8)),
            LogicalType::Date => Type::Date { in_millis: false },
            LogicalType::Time { digits, .. } => Type::Time(Unit::of_digits(digits)),
            LogicalType::Timestamp { digits } => Type::Timestamp(Unit::of_digits(digits)),
            LogicalType::Instant { digits, .. } => Type::Instant(Unit::of_digits(digits)),
            LogicalType::Text { .. } | LogicalType::Uuid | LogicalType::Json { .. } | LogicalType::Opaque => {
                Type::Text(Places::Ends(8))
            }
        })
    }

    /// What a column of this type is in words that all products share.
    pub fn logical(&self) -> LogicalType {
        match self {
            Type::Null | Type::Text(_) => LogicalType::TEXT,
            Type::Boolean => LogicalType::Boolean,
            Type::Integer { bits, signed } => LogicalType::Integer {
                bits: *bits,
                signed: *signed,
            },
            Type::Float { bits } => LogicalType::Float { bits: (*bits).max(32) },
            Type::Decimal { precision, scale, .. } => match u16::try_from(*scale) {
                Ok(scale) => LogicalType::decimal((*precision).max(scale), scale),
                Err(_) => LogicalType::decimal(precision + scale.unsigned_abs(), 0),
            },
            Type::Bytes(_) => LogicalType::BYTES,
            Type::FixedBytes(width) => LogicalType::Bytes {
                length: u32::try_from(*width).ok(),
                filled: true,
            },
            Type::Date { .. } => LogicalType::Date,
            Type::Time(unit) => LogicalType::Time {
                digits: unit.digits(),
                span: false,
            },
            Type::Timestamp(unit) => LogicalType::Timestamp { digits: unit.digits() },
            Type::Instant(unit) => LogicalType::Instant {
                digits: unit.digits(),
                epoch_32: false,
            },
        }
    }
}

/// A type that is refused, as Arrow's users call it.
fn words(format: &str) -> String {
    let kind = match format {
        "+l" | "+L" | "+vl" | "+vL" => "a list",
        "+s" => "a struct",
        "+m" => "a map",
        "+r" => "run-end encoded",
        _ if format.starts_with("+w:") => "a list",
        _ if format.starts_with("+u") => "a union",
        _ if format.starts_with("tD") => "a duration",
        _ if format.starts_with("ti") => "an interval",
        _ => return format!("of the type `{format}`"),
    };
    kind.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_handed_out_is_read_back_as_the_same() {
        let logical = [
            LogicalType::Boolean,
            LogicalType::Integer { bits: 8, signed: true },
            LogicalType::Integer {
                bits: 64,
                signed: false,
            },
            LogicalType::Float { bits: 32 },
            LogicalType::Float { bits: 64 },
            LogicalType::decimal(38, 9),
            LogicalType::decimal(76, 0),
            LogicalType::TEXT,
            LogicalType::BYTES,
            LogicalType::Date,
            LogicalType::Time { digits: 6, span: false },
            LogicalType::Timestamp { digits: 9 },
            LogicalType::Instant {
                digits: 6,
                epoch_32: false,
            },
        ];
        for logical in logical {
            let handed_out = Type::of(logical).unwrap();
            assert_eq!(Type::parse(&handed_out.format()), Ok(handed_out.clone()));
            assert_eq!(handed_out.logical(), logical);
        }
    }

    #[test]
    fn types_that_no_column_has_are_named() {
        for (format, expected) in [
            ("+l", "a list"),
            ("+s", "a struct"),
            ("+ud:0,1", "a union"),
            ("tDn", "a duration"),
        ] {
            assert_eq!(Type::parse(format), Err(expected.to_owned()));
        }
        assert!(Type::of(LogicalType::decimal(77, 2)).is_err());
        assert!(Type::of(LogicalType::DECIMAL).is_err());
    }

    #[test]
    fn a_scale_below_zero_makes_a_longer_whole_number() {
        let hundreds = Type::parse("d:5,-2").unwrap();
        assert_eq!(hundreds.logical(), LogicalType::decimal(7, 0));
        assert_eq!(Type::parse("d:2,4,32").unwrap().logical(), LogicalType::decimal(4, 4));
    }
}
