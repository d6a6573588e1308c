//! From a source column's values to a target column's: which ways there are, and what of a value does not go.
//!
//! A way exists where nothing is lost for any value, or where it can be seen value by value; everything else is refused
//! in the plan. Databases would do many of these silently: round a decimal, cut spaces, shift a time.

use super::{
    passing::{Passing, integers},
    request::{Choice, Choices, Fraction},
};
use crate::database::{
    Column, Layout, Limits, LogicalType, Padding, Value,
    batch::ColumnData,
    decimal::Digits,
    temporal::{Date, OffsetTimestamp, Time, Timestamp},
};

/// How the values of one column are checked and carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    source: LogicalType,
    target: LogicalType,
    nullable: bool,
    limits: Limits,
    choices: Choices,
    passing: Passing,
}

/// A value that the target cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The row within the batch, from 0.
    pub row: usize,
    /// Why; never the value.
    pub reason: String,
    /// The option that would let it pass changed, if there is one.
    pub hint: Option<String>,
}

/// Values that became others because it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Times whose fraction was rounded.
    pub rounded: u64,
    /// Infinite numbers, dates and timestamps that are NULL now.
    pub infinity: u64,
    /// NaN, the same.
    pub nan: u64,
    /// Zero dates, the same.
    pub zero_dates: u64,
}

impl Changed {
    /// Counts these as well.
    pub(super) fn add(&mut self, other: Changed) {
        self.rounded += other.rounded;
        self.infinity += other.infinity;
        self.nan += other.nan;
        self.zero_dates += other.zero_dates;
    }

    /// Counts these no more.
    pub(super) fn take_back(&mut self, other: Changed) {
        self.rounded -= other.rounded;
        self.infinity -= other.infinity;
        self.nan -= other.nan;
        self.zero_dates -= other.zero_dates;
    }
}

/// Why a value does not go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unfit {
    Infinity,
    Nan,
    ZeroDate,
    /// More digits of a second's fraction than the target keeps.
    Fraction {
        digits: u8,
        kept: u8,
    },
    Other(String),
}

impl From<&str> for Unfit {
    fn from(reason: &str) -> Self {
        Unfit::Other(reason.to_owned())
    }
}

impl From<String> for Unfit {
    fn from(reason: String) -> Self {
        Unfit::Other(reason)
    }
}

impl Unfit {
    fn reason(self) -> String {
        match self {
            Unfit::Infinity => "the value is infinite, which the target does not hold".to_owned(),
            Unfit::Nan => "the value is NaN, which the target does not hold".to_owned(),
            Unfit::ZeroDate => "the value is the zero date, which the target does not hold".to_owned(),
            Unfit::Fraction { digits, kept } => {
                format!("the value has {digits} digits of a second's fraction, the target column holds {kept}")
            }
            Unfit::Other(reason) => reason,
        }
    }
}

impl Conversion {
    /// The way from one column to another in a product with these limits.
    ///
    /// # Errors
    /// Why there is none.
    pub fn plan(source: &Column, target: &Column, limits: &Limits) -> Result<Conversion, String> {
        if target.generated {
            return Err("the database computes the target column itself".to_owned());
        }
        let possible = match (source.logical, target.logical) {
            (LogicalType::Opaque, to) if source.declared.is_empty() && to != LogicalType::Opaque => {
                return Err(
                    "the column has no declared type and its values are of several; cast it to one in a query"
                        .to_owned(),
                );
            }
            (LogicalType::Opaque, LogicalType::Opaque) => source.declared == target.declared,
            (LogicalType::Opaque, LogicalType::Text { .. }) => true,
            (_, LogicalType::Opaque) => false,
            (LogicalType::Json { normalized: true }, LogicalType::Json { normalized: true }) => true,
            (_, LogicalType::Json { normalized: true }) => false,
            (LogicalType::Json { .. } | LogicalType::Text { .. }, LogicalType::Json { .. }) => true,
            (LogicalType::Text { .. } | LogicalType::Uuid, LogicalType::Uuid) => true,
            (_, LogicalType::Json { .. } | LogicalType::Uuid) => false,
            (LogicalType::Boolean, LogicalType::Boolean | LogicalType::Integer { .. }) => true,
            (LogicalType::Boolean, _) => false,
            (LogicalType::Instant { .. }, LogicalType::Timestamp { .. }) => limits.instants_as_utc,
            (from, to) => match (from.layout(), to.layout()) {
                (Layout::Bytes, Layout::Text) => false,
                (_, Layout::Text) => true,
                (from, to) if from == to => true,
                (Layout::I64, Layout::Decimal | Layout::F64) => true,
                (Layout::Decimal, Layout::I64) => true,
                (Layout::Date, Layout::Timestamp) | (Layout::Timestamp, Layout::Date) => true,
                _ => false,
            },
        };
        if !possible {
            return Err(format!(
                "`{}` ({}) has no exact way into `{}` ({})",
                source.declared,
                words(source.logical),
                target.declared,
                words(target.logical)
            ));
        }
        let nullable = !target.is_required();
        // Of the source nothing is known but the column, so each of its values may be anything.
        let any = Limits {
            nul_in_text: true,
            nan: true,
            infinity: true,
            infinite_dates: true,
            zero_dates: true,
            decimal_nan: true,
            decimal_infinity: true,
            keeps_declared_sizes: false,
            ..limits.clone()
        };
        Ok(Conversion {
            source: source.logical,
            target: target.logical,
            nullable,
            passing: Passing::plan(source, target, nullable, &any, limits),
            limits: limits.clone(),
            choices: Choices::default(),
        })
    }

    /// The same way for values from a product with these limits, into one with `to`: what it rules out is not looked for.
    pub fn between(mut self, source: &Column, target: &Column, from: &Limits, to: &Limits) -> Conversion {
        self.passing = Passing::plan(source, target, self.nullable, from, to);
        self
    }

    /// Whether every value of this column goes as it is that has a plain form: a finite number, a date or timestamp of the
    /// years 1 to 9999, text in UTF-8.
    pub fn passes_in_plain_form(&self, source: &Column) -> bool {
        self.passing.holds_in_plain_form(source)
    }

    /// The same way with what was chosen for values that the target does not hold.
    pub fn choosing(mut self, choices: Choices) -> Conversion {
        self.choices = choices;
        self
    }

    /// Carries the whole column over to `out`, which is empty and has the target's layout. A column whose values all
    /// stay as they are is handed over with its memory, and `from` then has that of `out`.
    ///
    /// # Errors
    /// The first value that does not go.
    pub fn convert(&self, from: &mut ColumnData, out: &mut ColumnData) -> Result<Changed, Refusal> {
        let mut changed = Changed::default();
        if self.passing.passes(from) {
            std::mem::swap(from, out);
            return Ok(changed);
        }
        let mut scratch = String::new();
        for row in 0..from.nulls.len() {
            self.convert_row(row, from, out, &mut scratch, &mut changed)?;
        }
        Ok(changed)
    }

    /// As [`Self::convert`], to the end of the column: a value that does not go is handed to `refuse`, and NULL stands in
    /// its place, whatever the target allows.
    pub(super) fn convert_each(
        &self,
        from: &mut ColumnData,
        out: &mut ColumnData,
        refuse: &mut dyn FnMut(Refusal),
    ) -> Changed {
        let mut changed = Changed::default();
        if self.passing.passes(from) {
            std::mem::swap(from, out);
            return changed;
        }
        let mut scratch = String::new();
        for row in 0..from.nulls.len() {
            if let Err(refusal) = self.convert_row(row, from, out, &mut scratch, &mut changed) {
                refuse(refusal);
                out.push(Value::Null);
            }
        }
        changed
    }

    /// What [`Self::convert_each`] has counted of one row of a column.
    pub(super) fn changed_in(&self, from: &ColumnData, row: usize) -> Changed {
        let mut changed = Changed::default();
        let mut out = ColumnData::new(self.target.layout());
        // A value that is refused is not counted.
        let _ = self.convert_row(row, from, &mut out, &mut String::new(), &mut changed);
        changed
    }

    /// Appends the value of one row to `out`, and nothing if it is refused.
    #[inline]
    fn convert_row(
        &self,
        row: usize,
        from: &ColumnData,
        out: &mut ColumnData,
        scratch: &mut String,
        changed: &mut Changed,
    ) -> Result<(), Refusal> {
        scratch.clear();
        let unfit = match self.value(from.value(row), scratch) {
            Ok(value) => {
                out.push(value);
                return Ok(());
            }
            Err(unfit) => unfit,
        };
        let refused = |unfit: Unfit, hint: Option<String>| Refusal {
            row,
            reason: unfit.reason(),
            hint,
        };
        if let (Unfit::Fraction { kept, .. }, Fraction::Round) = (&unfit, self.choices.fraction) {
            let rounded = rounded(from.value(row), *kept);
            let rounded = rounded.ok_or_else(|| refused(AFTER_LAST.into(), None))?;
            scratch.clear();
            let value = self.value(rounded, scratch);
            out.push(value.map_err(|unfit| refused(unfit, None))?);
            changed.rounded += 1;
            return Ok(());
        }
        if let Err(hint) = self.count(&unfit, changed) {
            return Err(refused(unfit, hint));
        }
        out.push(Value::Null);
        Ok(())
    }

    /// Counts a value that is to become NULL.
    ///
    /// # Errors
    /// It is to be refused; with the option that would help, if one would.
    fn count(&self, unfit: &Unfit, changed: &mut Changed) -> Result<(), Option<String>> {
        let (choice, counter, name) = match unfit {
            Unfit::Infinity => (self.choices.infinity, &mut changed.infinity, "infinity"),
            Unfit::Nan => (self.choices.nan, &mut changed.nan, "nan"),
            Unfit::ZeroDate => (self.choices.zero_dates, &mut changed.zero_dates, "zero_dates"),
            Unfit::Fraction { .. } => return Err(Some("`fraction=\"round\"` rounds such values".to_owned())),
            Unfit::Other(_) => return Err(None),
        };
        match choice {
            Choice::Null if self.nullable => {
                *counter += 1;
                Ok(())
            }
            Choice::Refuse if self.nullable => Err(Some(format!("`{name}=\"null\"` copies such values as NULL"))),
            Choice::Null | Choice::Refuse => Err(None),
        }
    }

    /// One value as the target holds it; `scratch` has room for what has to be spelled anew.
    fn value<'a>(&self, value: Value<'a>, scratch: &'a mut String) -> Result<Value<'a>, Unfit> {
        match (value, self.target.layout()) {
            (Value::Null, _) if self.nullable => Ok(Value::Null),
            (Value::Null, _) => Err("the value is NULL, and the target column does not allow it".into()),
            (Value::I64(value), Layout::I64) => self.integer(value),
            (Value::I64(value), Layout::F64) => self.integer_as_float(value),
            (Value::I64(value), Layout::Decimal) => {
                spell(Value::I64(value), scratch)?;
                self.decimal(scratch)
            }
            (Value::F64(value), Layout::F64) => self.float(value),
            (Value::Decimal(text), Layout::Decimal) => self.decimal(text),
            (Value::Decimal(text), Layout::I64) => {
                not_finite(text).map_or(Ok(()), Err)?;
                let whole = Digits::parse(text).and_then(|digits| digits.to_i64());
                self.integer(whole.ok_or("the value is no whole number of 64 bits, and the target column is one")?)
            }
            (Value::Text(text), Layout::Text) => self.text(text, scratch),
            (Value::Bytes(bytes), Layout::Bytes) => self.bytes(bytes),
            (Value::Date(date), Layout::Date) => self.date(date).map(|()| value),
            (Value::Date(date), Layout::Timestamp) => {
                self.date(date)?;
                Ok(Value::Timestamp(Timestamp {
                    date,
                    time: Time::default(),
                }))
            }
            (Value::Time(time), Layout::Time) => self.time(time),
            (Value::Timestamp(timestamp), Layout::Timestamp) => self.timestamp(timestamp),
            (Value::Timestamp(timestamp), Layout::Date) if timestamp.time == Time::default() => {
                self.date(timestamp.date)?;
                Ok(Value::Date(timestamp.date))
            }
            (Value::Timestamp(_), Layout::Date) => {
                Err("the value has a time of day, and the target column is a date".into())
            }
            (Value::Instant(instant), Layout::Instant) => {
                self.timestamp(instant.utc().ok_or(AFTER_9999)?)?;
                Ok(value)
            }
            (Value::Instant(instant), Layout::Timestamp) => self.timestamp(instant.utc().ok_or(AFTER_9999)?),
            (value, Layout::Text) => {
                spell(value, scratch)?;
                self.length(scratch, scratch)
            }
            (_, layout) => Err(format!("dray has no way for the value into {layout:?}").into()),
        }
    }

    fn integer(&self, value: i64) -> Result<Value<'static>, Unfit> {
        let held = integers(self.target);
        match held.contains(&value) {
            true => Ok(Value::I64(value)),
            false => Err(format!(
                "the value is outside {} to {}, which the target column holds",
                held.start(),
                held.end()
            )
            .into()),
        }
    }

    fn integer_as_float(&self, value: i64) -> Result<Value<'static>, Unfit> {
        let bits = if matches!(self.target, LogicalType::Float { bits: 32 }) {
            24
        } else {
            53
        };
        match value.unsigned_abs() <= 1 << bits {
            true => Ok(Value::F64(value as f64)),
            false => {
                Err(format!("the value has more than the {bits} bits of the target's floating-point numbers").into())
            }
        }
    }

    fn float(&self, value: f64) -> Result<Value<'static>, Unfit> {
        if value.is_nan() && !self.limits.nan {
            return Err(Unfit::Nan);
        }
        if value.is_infinite() && !self.limits.infinity {
            return Err(Unfit::Infinity);
        }
        let narrow = matches!(self.target, LogicalType::Float { bits: 32 });
        if narrow && !value.is_nan() && f64::from(value as f32) != value {
            return Err("the value needs 64 bits, and the target's floating-point numbers have 32".into());
        }
        Ok(Value::F64(value))
    }

    fn decimal<'a>(&self, text: &'a str) -> Result<Value<'a>, Unfit> {
        if let Some(unfit) = not_finite(text) {
            let held = match (&unfit, self.target) {
                (Unfit::Nan, LogicalType::Decimal { .. }) => self.limits.decimal_nan,
                (_, LogicalType::Decimal { precision: None, .. }) => self.limits.decimal_infinity,
                _ => false,
            };
            return if held { Ok(Value::Decimal(text)) } else { Err(unfit) };
        }
        let digits = Digits::parse(text).ok_or("the value is no decimal number")?;
        match self.target {
            LogicalType::Integer { .. } if !digits.is_u64() => {
                Err("the value is outside 0 to 18446744073709551615, which the target column holds".into())
            }
            LogicalType::Decimal {
                precision,
                scale,
                kept_digits,
            } => {
                if !digits.fits(precision, scale) {
                    return Err(format!(
                        "the value has {} digits before and {} after the point, the target column holds {}",
                        digits.whole.len(),
                        digits.fraction.len(),
                        words(self.target)
                    )
                    .into());
                }
                match kept_digits {
                    Some(kept) if digits.significant() > kept.into() => Err(format!(
                        "the value has {} digits, of which the target column keeps {kept}",
                        digits.significant()
                    )
                    .into()),
                    _ => Ok(Value::Decimal(text)),
                }
            }
            _ => Ok(Value::Decimal(text)),
        }
    }

    fn text<'a>(&self, text: &'a str, scratch: &'a mut String) -> Result<Value<'a>, Unfit> {
        if !self.limits.nul_in_text && text.contains('\0') {
            return Err("the text holds U+0000, which the target does not".into());
        }
        match self.target {
            LogicalType::Uuid => {
                let hyphens = [8, 13, 18, 23];
                let valid = text.len() == 36
                    && text
                        .bytes()
                        .enumerate()
                        .all(|(position, byte)| match hyphens.contains(&position) {
                            true => byte == b'-',
                            false => byte.is_ascii_hexdigit(),
                        });
                if !valid {
                    return Err("the text is no UUID, and the target column is one".into());
                }
                scratch.push_str(&text.to_ascii_lowercase());
                Ok(Value::Text(scratch))
            }
            _ => self.length(text, text),
        }
    }

    /// The text, if the target's length and padding leave it as it is.
    fn length<'a>(&self, text: &'a str, whole: &'a str) -> Result<Value<'a>, Unfit> {
        let LogicalType::Text { length, padding } = self.target else {
            return Ok(Value::Text(whole));
        };
        // Between two columns of fixed length, trailing spaces are filling on both sides.
        let fixed = matches!(
            self.source,
            LogicalType::Text {
                padding: Padding::Filled | Padding::Stripped,
                ..
            }
        );
        let text = match (padding, fixed) {
            (Padding::None, _) => text,
            (_, true) => text.trim_end_matches(' '),
            (_, false) => text,
        };
        let letters = text.chars().count();
        if let Some(length) = length.filter(|length| letters > *length as usize) {
            return Err(format!("the text has {letters} characters, the target column holds {length}").into());
        }
        match padding {
            Padding::Stripped if !fixed && text.ends_with(' ') => {
                Err("the text ends in a space, which the target column of fixed length would strip".into())
            }
            Padding::Filled if !fixed && length.is_some_and(|length| letters < length as usize) => Err(format!(
                "the text has {letters} characters, and the target column of fixed length would fill it with spaces"
            )
            .into()),
            _ => Ok(Value::Text(text)),
        }
    }

    fn bytes<'a>(&self, bytes: &'a [u8]) -> Result<Value<'a>, Unfit> {
        let LogicalType::Bytes {
            length: Some(length),
            filled,
        } = self.target
        else {
            return Ok(Value::Bytes(bytes));
        };
        let source_filled =
            matches!(self.source, LogicalType::Bytes { filled: true, length: Some(own) } if own == length);
        if bytes.len() > length as usize {
            return Err(format!("the value has {} bytes, the target column holds {length}", bytes.len()).into());
        }
        if filled && !source_filled && bytes.len() < length as usize {
            return Err(format!(
                "the value has {} bytes, and the target column of fixed length would fill it with zeros",
                bytes.len()
            )
            .into());
        }
        Ok(Value::Bytes(bytes))
    }

    fn date(&self, date: Date) -> Result<(), Unfit> {
        match date {
            _ if date.is_infinite() && self.limits.infinite_dates => Ok(()),
            _ if date.is_infinite() => Err(Unfit::Infinity),
            Date::ZERO if self.limits.zero_dates => Ok(()),
            Date::ZERO => Err(Unfit::ZeroDate),
            _ => self.year(date.year),
        }
    }

    fn year(&self, year: i16) -> Result<(), Unfit> {
        let years = &self.limits.years;
        match years.contains(&year) {
            true => Ok(()),
            false => Err(format!(
                "the value is outside the years {} to {} of the target",
                years.start(),
                years.end()
            )
            .into()),
        }
    }

    fn fraction(&self, time: Time, digits: u8) -> Result<(), Unfit> {
        match time.fraction_digits() <= digits {
            true => Ok(()),
            false => Err(Unfit::Fraction {
                digits: time.fraction_digits(),
                kept: digits,
            }),
        }
    }

    fn time(&self, time: Time) -> Result<Value<'static>, Unfit> {
        if let LogicalType::Time { digits, span } = self.target {
            self.fraction(time, digits)?;
            if !span && !time.is_of_day() {
                return Err("the value is a span beyond a day, and the target column is a time of day".into());
            }
        }
        Ok(Value::Time(time))
    }

    /// A timestamp without a zone, or an instant in UTC.
    fn timestamp(&self, timestamp: Timestamp) -> Result<Value<'static>, Unfit> {
        self.date(timestamp.date)?;
        match self.target {
            _ if !timestamp.date.is_day() => {}
            LogicalType::Timestamp { digits } => self.fraction(timestamp.time, digits)?,
            LogicalType::Instant { digits, epoch_32 } => {
                self.fraction(timestamp.time, digits)?;
                if epoch_32 && !is_in_epoch_32(timestamp) {
                    return Err(
                        "the value is outside 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC, which the target \
                                column holds"
                            .into(),
                    );
                }
            }
            _ => {}
        }
        Ok(Value::Timestamp(timestamp))
    }
}

const AFTER_9999: &str = "the value is after the year 9999 in UTC";

const AFTER_LAST: &str = "rounded, the value would be after the last one of its type";

/// The value with its second's fraction rounded to so many digits; `None` where there is no such time any more.
fn rounded(value: Value<'_>, digits: u8) -> Option<Value<'static>> {
    match value {
        Value::Time(time) => time.rounded(digits).map(Value::Time),
        Value::Timestamp(timestamp) => timestamp.rounded(digits).map(Value::Timestamp),
        Value::Instant(instant) => Some(Value::Instant(OffsetTimestamp {
            local: instant.local.rounded(digits)?,
            ..instant
        })),
        _ => None,
    }
}

/// Whether a decimal is none of digits.
fn not_finite(text: &str) -> Option<Unfit> {
    match text {
        "NaN" => Some(Unfit::Nan),
        "Infinity" | "-Infinity" => Some(Unfit::Infinity),
        _ => None,
    }
}

/// Whether it is a second of 1970-01-01 00:00:01 to 2038-01-19 03:14:07.
fn is_in_epoch_32(timestamp: Timestamp) -> bool {
    let Timestamp { date, time } = timestamp;
    let parts = (date.year, date.month, date.day, time.hour, time.minute, time.second);
    ((1970, 1, 1, 0, 0, 1)..=(2038, 1, 19, 3, 14, 7)).contains(&parts)
}

/// A value in the words that every database reads.
fn spell(value: Value<'_>, out: &mut String) -> Result<(), Unfit> {
    use std::fmt::Write;
    let written = match value {
        Value::I64(value) => write!(out, "{value}"),
        Value::F64(value) => write!(out, "{value:?}"),
        Value::Decimal(text) | Value::Text(text) => write!(out, "{text}"),
        Value::Date(value) => write!(out, "{value}"),
        Value::Time(value) => write!(out, "{value}"),
        Value::Timestamp(value) => write!(out, "{value}"),
        Value::Instant(value) => write!(out, "{value}"),
        Value::Bytes(_) | Value::Null => return Err("bytes are not written as text".into()),
    };
    written.map_err(|error| error.to_string().into())
}

/// A type in words for a message.
pub(super) fn words(logical: LogicalType) -> String {
    match logical {
        LogicalType::Boolean => "true or false".to_owned(),
        LogicalType::Integer { bits, signed } => {
            format!("{bits}-bit integer{}", if signed { "" } else { " without a sign" })
        }
        LogicalType::Decimal {
            precision: Some(precision),
            scale: Some(scale),
            ..
        } => {
            format!("decimal({precision},{scale})")
        }
        LogicalType::Decimal { .. } => "decimal".to_owned(),
        LogicalType::Float { bits } => format!("{bits}-bit floating-point number"),
        LogicalType::Text { .. } => "text".to_owned(),
        LogicalType::Bytes { .. } => "bytes".to_owned(),
        LogicalType::Date => "date".to_owned(),
        LogicalType::Time { .. } => "time".to_owned(),
        LogicalType::Timestamp { .. } => "timestamp without a zone".to_owned(),
        LogicalType::Instant { .. } => "timestamp with a zone".to_owned(),
        LogicalType::Uuid => "UUID".to_owned(),
        LogicalType::Json { normalized: true } => "JSON that is not kept as text".to_owned(),
        LogicalType::Json { normalized: false } => "JSON text".to_owned(),
        LogicalType::Opaque => "a type of the product's own".to_owned(),
    }
}

#[cfg(test)]
#[path = "conversion_tests.rs"]
mod tests;
