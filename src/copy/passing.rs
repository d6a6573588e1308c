//! Whole columns of a batch that pass as they are: looked through in tight loops, and then handed on by their memory.
//!
//! A check may only say yes where [`super::conversion`] would leave every value as it is; where it is in doubt it says
//! no, and the values are looked at one by one. What the types and products alone make sure of is settled in the plan.

use std::ops::RangeInclusive;

use crate::database::{
    Column, Limits, LogicalType, Padding,
    batch::{ColumnData, Packed, Values},
    temporal::{Date, Time},
};

/// What has to be seen before a whole column passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passing {
    /// Whether a NULL is in doubt.
    nulls: bool,
    values: Check,
}

/// What is seen of the values; `None` inside stands for what needs no look.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Check {
    /// Each value is in doubt.
    Never,
    /// None is.
    Always,
    /// Whole numbers.
    Range(RangeInclusive<i64>),
    Float {
        finite: bool,
        narrow: bool,
    },
    Decimal {
        /// Whether NaN and the infinities are in doubt.
        finite: bool,
        size: Option<DecimalSize>,
    },
    Text {
        /// Whether U+0000 is in doubt.
        nul: bool,
        size: Option<TextSize>,
    },
    Bytes(RangeInclusive<usize>),
    Date(RangeInclusive<i16>),
    Time {
        /// The fraction is a multiple of so many nanoseconds.
        unit: u32,
        of_day: bool,
    },
    Timestamp {
        years: RangeInclusive<i16>,
        unit: u32,
    },
}

/// Most digits as they are written, zeros included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DecimalSize {
    whole: usize,
    fraction: usize,
    all: usize,
    unsigned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TextSize {
    fewest: usize,
    most: usize,
    /// Whether a trailing space is in doubt.
    spaces: bool,
}

impl Passing {
    /// The check for a way between these columns, whose values come from and go to products with these limits.
    pub fn plan(source: &Column, target: &Column, nullable: bool, from: &Limits, to: &Limits) -> Passing {
        let values = match source.logical.layout() == target.logical.layout() {
            true => check(source.logical, target.logical, from, to),
            false => Check::Never,
        };
        Passing {
            nulls: !nullable,
            values,
        }
    }

    /// Whether every value of the column passes that is a finite number, a date or timestamp of the years 1 to 9999, or
    /// text.
    pub fn holds_in_plain_form(&self, source: &Column) -> bool {
        let years_hold = |years: &RangeInclusive<i16>| *years.start() <= 1 && *years.end() >= 9999;
        let fixed = matches!(
            source.logical,
            LogicalType::Text {
                padding: Padding::Filled,
                ..
            }
        );
        let values = match &self.values {
            Check::Always | Check::Decimal { size: None, .. } => true,
            Check::Date(years) => years_hold(years),
            Check::Timestamp { years, unit: 1 } => years_hold(years),
            // Between columns of fixed length trailing blanks are filling.
            Check::Text {
                nul: false,
                size:
                    Some(TextSize {
                        fewest: 0,
                        most: usize::MAX,
                        spaces: true,
                    }),
            } => fixed,
            _ => false,
        };
        values && !(self.nulls && source.nullable)
    }

    /// Whether every value passes as it is.
    pub fn passes(&self, column: &ColumnData) -> bool {
        let nulls = column.nulls.as_slice();
        if self.nulls && nulls.iter().fold(false, |any, null| any | null) {
            return false;
        }
        match (&self.values, &column.values) {
            (Check::Always, _) => true,
            (Check::Range(range), Values::I64(values)) => {
                let (low, high) = (*range.start(), *range.end());
                // Without an early end the loop is made of vector instructions.
                !values
                    .iter()
                    .fold(false, |bad, value| bad | (*value < low) | (*value > high))
            }
            (Check::Float { finite, narrow }, Values::F64(values)) => !values.iter().fold(false, |bad, value| {
                bad | (*finite & !value.is_finite()) | (*narrow & (f64::from(*value as f32) != *value))
            }),
            (Check::Decimal { finite, size }, Values::Decimal(packed)) => {
                // Letters have a bit that digits, signs and the point lack.
                let letters = || packed.parts().1.iter().fold(0, |bits, byte| bits | byte) & 0x40 != 0;
                if (*finite || size.is_some()) && letters() {
                    return false;
                }
                size.is_none_or(|size| slices(packed, nulls).all(|digits| size.holds(digits)))
            }
            (Check::Text { nul, size }, Values::Text(packed)) => {
                let nul_found = || memchr::memchr(0, packed.parts().1).is_some();
                !(*nul && nul_found()) && size.is_none_or(|size| slices(packed, nulls).all(|text| size.holds(text)))
            }
            (Check::Bytes(lengths), Values::Bytes(packed)) => {
                slices(packed, nulls).all(|bytes| lengths.contains(&bytes.len()))
            }
            (Check::Date(years), Values::Date(values)) => {
                !any_bad(values, nulls, |date: &Date| !is_within(*date, years.clone()))
            }
            (Check::Time { unit, of_day }, Values::Time(values)) => !any_bad(values, nulls, |time: &Time| {
                !time.nanosecond.is_multiple_of(*unit) | (*of_day & !time.is_of_day())
            }),
            (Check::Timestamp { years, unit }, Values::Timestamp(values)) => !any_bad(values, nulls, |value| {
                !is_within(value.date, years.clone()) | !value.time.nanosecond.is_multiple_of(*unit)
            }),
            (Check::Timestamp { years, unit }, Values::Instant(values)) => !any_bad(values, nulls, |value| {
                !is_within(value.local.date, years.clone()) | !value.local.time.nanosecond.is_multiple_of(*unit)
            }),
            _ => false,
        }
    }
}

fn check(source: LogicalType, target: LogicalType, from: &Limits, to: &Limits) -> Check {
    let same = source == target && from.keeps_declared_sizes;
    match target {
        // Beyond i64, and so in decimal digits.
        LogicalType::Integer {
            bits: 64,
            signed: false,
        } if same => Check::Always,
        LogicalType::Integer {
            bits: 64,
            signed: false,
        } => Check::Decimal {
            finite: true,
            size: Some(DecimalSize {
                whole: 19,
                fraction: 0,
                all: 19,
                unsigned: true,
            }),
        },
        LogicalType::Boolean | LogicalType::Integer { .. } => {
            let own = integers(target);
            let other = match from.keeps_declared_sizes {
                true => integers(source),
                false => i64::MIN..=i64::MAX,
            };
            match own.contains(other.start()) && own.contains(other.end()) {
                true => Check::Always,
                false => Check::Range(own),
            }
        }
        LogicalType::Float { bits } => {
            let narrow = bits == 32 && !same;
            let finite = (from.nan && !to.nan) || (from.infinity && !to.infinity);
            match (finite, narrow) {
                (false, false) => Check::Always,
                (finite, narrow) => Check::Float { finite, narrow },
            }
        }
        LogicalType::Decimal { .. } => decimal_check(source, target, from, to),
        LogicalType::Text { length, padding } => text_check(source, length, padding, from, to),
        LogicalType::Uuid if same => Check::Always,
        LogicalType::Uuid => Check::Never,
        LogicalType::Json { .. } | LogicalType::Opaque => Check::Text {
            nul: from.nul_in_text && !to.nul_in_text,
            size: None,
        },
        LogicalType::Bytes { length: None, .. } => Check::Always,
        LogicalType::Bytes { .. } if same => Check::Always,
        LogicalType::Bytes {
            length: Some(length),
            filled,
        } => Check::Bytes(if filled { length as usize } else { 0 }..=length as usize),
        LogicalType::Date => Check::Date(to.years.clone()),
        LogicalType::Time { digits, span } => {
            let (own_digits, own_span) = match source {
                LogicalType::Time { digits, span } if from.keeps_declared_sizes => (digits, span),
                _ => (9, true),
            };
            Check::Time {
                unit: unit(own_digits, digits),
                of_day: own_span && !span,
            }
        }
        LogicalType::Timestamp { digits } => {
            let own_digits = match source {
                LogicalType::Timestamp { digits } if from.keeps_declared_sizes => digits,
                _ => 9,
            };
            Check::Timestamp {
                years: to.years.clone(),
                unit: unit(own_digits, digits),
            }
        }
        LogicalType::Instant { epoch_32: true, .. } if !same => Check::Never,
        LogicalType::Instant { digits, .. } => {
            let own_digits = match source {
                LogicalType::Instant { digits, .. } if from.keeps_declared_sizes => digits,
                _ => 9,
            };
            // UTC is at most a day away from the local date.
            Check::Timestamp {
                years: to.years.start() + 1..=to.years.end() - 1,
                unit: unit(own_digits, digits),
            }
        }
    }
}

/// The whole numbers that a column of 64 bits with a sign, or less, holds.
pub(super) fn integers(logical: LogicalType) -> RangeInclusive<i64> {
    match logical {
        LogicalType::Boolean => 0..=1,
        LogicalType::Integer { bits: 64, .. } => i64::MIN..=i64::MAX,
        LogicalType::Integer { bits, signed: true } => -(1 << (bits - 1))..=(1 << (bits - 1)) - 1,
        LogicalType::Integer { bits, signed: false } => 0..=(1 << bits) - 1,
        _ => i64::MIN..=i64::MAX,
    }
}

fn decimal_check(source: LogicalType, target: LogicalType, from: &Limits, to: &Limits) -> Check {
    let LogicalType::Decimal {
        precision,
        scale,
        kept_digits,
    } = target
    else {
        return Check::Never;
    };
    let infinities_fit = to.decimal_infinity && precision.is_none();
    let finite = (from.decimal_nan && !to.decimal_nan) || (from.decimal_infinity && !infinities_fit);
    let fits = match source {
        _ if precision.is_none() && scale.is_none() => true,
        LogicalType::Decimal {
            precision: Some(own_precision),
            scale: Some(own_scale),
            ..
        } if from.keeps_declared_sizes => precision.zip(scale).is_some_and(|(precision, scale)| {
            own_scale <= scale && own_precision.saturating_sub(own_scale) <= precision.saturating_sub(scale)
        }),
        _ => false,
    };
    let kept = kept_digits.map_or(usize::MAX, usize::from);
    let size = match (fits && kept_digits.is_none(), precision, scale) {
        (true, _, _) => None,
        (false, Some(precision), Some(scale)) => Some(DecimalSize {
            whole: usize::from(precision.saturating_sub(scale)),
            fraction: usize::from(scale),
            all: kept,
            unsigned: false,
        }),
        (false, precision, scale) => Some(DecimalSize {
            whole: usize::MAX,
            fraction: scale.map_or(usize::MAX, usize::from),
            all: kept.min(precision.map_or(usize::MAX, usize::from)),
            unsigned: false,
        }),
    };
    match (finite, size) {
        (false, None) => Check::Always,
        (finite, size) => Check::Decimal { finite, size },
    }
}

fn text_check(source: LogicalType, length: Option<u32>, padding: Padding, from: &Limits, to: &Limits) -> Check {
    let nul = from.nul_in_text && !to.nul_in_text;
    let most = length.map_or(usize::MAX, |length| length as usize);
    let fixed = matches!(
        source,
        LogicalType::Text {
            padding: Padding::Filled | Padding::Stripped,
            ..
        }
    );
    let own_most = match source {
        LogicalType::Text {
            length: Some(length), ..
        } if from.keeps_declared_sizes => length as usize,
        LogicalType::Uuid if from.keeps_declared_sizes => 36,
        _ => usize::MAX,
    };
    let size = TextSize {
        fewest: if padding == Padding::Filled && !fixed { most } else { 0 },
        most: if own_most <= most { usize::MAX } else { most },
        spaces: padding != Padding::None,
    };
    let any = TextSize {
        fewest: 0,
        most: usize::MAX,
        spaces: false,
    };
    let size = (size != any).then_some(size);
    match (nul, size) {
        (false, None) => Check::Always,
        (nul, size) => Check::Text { nul, size },
    }
}

/// Of how many nanoseconds a fraction is a multiple that comes from `own` digits and goes into `digits`.
fn unit(own: u8, digits: u8) -> u32 {
    match own <= digits {
        true => 1,
        false => 10_u32.pow(u32::from(9 - digits.min(9))),
    }
}

fn is_within(date: Date, years: RangeInclusive<i16>) -> bool {
    (date.year >= *years.start()) & (date.year <= *years.end()) & date.is_day()
}

/// Whether any value that is not NULL is bad.
fn any_bad<T>(values: &[T], nulls: &[bool], bad: impl Fn(&T) -> bool) -> bool {
    values
        .iter()
        .zip(nulls)
        .fold(false, |any, (value, null)| any | (!null & bad(value)))
}

/// The values that are not NULL.
fn slices<'a>(packed: &'a Packed, nulls: &'a [bool]) -> impl Iterator<Item = &'a [u8]> {
    let (ends, bytes) = packed.parts();
    let mut start = 0;
    ends.iter().zip(nulls).filter_map(move |(end, null)| {
        let value = &bytes[start..*end];
        start = *end;
        (!null).then_some(value)
    })
}

impl DecimalSize {
    fn holds(self, digits: &[u8]) -> bool {
        let signs = usize::from(matches!(digits.first(), Some(b'-' | b'+')));
        if signs > 0 && self.unsigned {
            return false;
        }
        let digits = &digits[signs..];
        // From the end: fractions are shorter than numbers.
        let fraction = digits.iter().rev().position(|byte| *byte == b'.');
        let (whole, fraction) = match fraction {
            Some(fraction) => (digits.len() - fraction - 1, fraction),
            None => (digits.len(), 0),
        };
        // Nothing at all is no number.
        (whole <= self.whole) & (fraction <= self.fraction) & (whole + fraction <= self.all) & (whole + fraction > 0)
    }
}

impl TextSize {
    fn holds(self, text: &[u8]) -> bool {
        if self.spaces && text.last() == Some(&b' ') {
            return false;
        }
        // There are at least a quarter as many characters as bytes, and at most as many.
        if text.len() <= self.most && text.len() / 4 >= self.fewest {
            return true;
        }
        let continues = |byte: &&u8| **byte & 0xc0 == 0x80;
        let letters = text.len() - text.iter().filter(continues).count();
        (self.fewest..=self.most).contains(&letters)
    }
}
