//! Numbers, dates and times in the spelling that SQLite's files have: read and written without a detour.
//!
//! Fast ways for the common forms alone; what they do not know is left to `decimal` and `temporal`, whose answers they
//! must equal. Pure.

use std::io::Write;

use crate::database::{
    decimal::Digits,
    temporal::{Date, OffsetTimestamp, Time, Timestamp},
};

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Digits that every double of its range keeps: 15 digits become a double and the same 15 digits again.
const KEPT_DIGITS: u32 = 15;

/// Appends the digits of an integer.
pub(super) fn push_integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the shortest digits that are read back as the same number, as [`from_f64`](crate::database::decimal::from_f64) has them; false and
/// nothing for NaN and the infinities. `scale` is the number of digits after the point that is likely.
pub(super) fn push_real(value: f64, scale: u16, out: &mut Vec<u8>) -> bool {
    let scale = usize::from(scale.min(9));
    let magnitude = value.abs();
    let scaled = magnitude * POWERS[scale] + 0.5;
    if (1.0..1e15).contains(&scaled) {
        let digits = scaled as u64;
        // Both sides of the division are exact, so its result is the double that these digits mean. No two numbers of up
        // to 15 digits mean the same double, so no shorter ones do.
        if digits as f64 / POWERS[scale] == magnitude {
            push_scaled(value.is_sign_negative(), digits, scale, out);
            return true;
        }
    }
    if !value.is_finite() {
        return false;
    }
    // To a Vec; it does not fail.
    let _ = write!(out, "{value}");
    true
}

/// Appends `digits` with a point before the last `scale` of them, and without zeros at the end of the fraction.
fn push_scaled(negative: bool, digits: u64, scale: usize, out: &mut Vec<u8>) {
    if negative {
        out.push(b'-');
    }
    let power = 10_u64.pow(scale as u32);
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(buffer.format(digits / power).as_bytes());
    let fraction = digits % power;
    if fraction > 0 {
        let text = buffer.format(fraction).as_bytes();
        out.push(b'.');
        out.resize(out.len() + scale - text.len(), b'0');
        let zeros = text.iter().rev().take_while(|digit| **digit == b'0').count();
        out.extend_from_slice(&text[..text.len() - zeros]);
    }
}

/// A decimal number as a column of numbers keeps it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Without a fraction, in 64 bits.
    Integer(i64),
    /// The double nearest to it, whose shortest digits are the number's.
    Real(f64),
}

impl Number {
    /// Reads decimal digits; `None` if neither form keeps every one of them.
    pub(super) fn parse(text: &str) -> Option<Number> {
        let digits = Digits::parse(text)?;
        if let Some(integer) = digits.to_i64() {
            return Some(Number::Integer(integer));
        }
        if digits.significant() > KEPT_DIGITS as usize {
            return None;
        }
        let value: f64 = text.parse().ok()?;
        // Far from where doubles have fewer digits.
        let magnitude = value.abs();
        (1e-290..1e290).contains(&magnitude).then_some(Number::Real(value))
    }

    /// As [`Number::parse`], first by the way that serves most numbers.
    pub(super) fn parse_fast(text: &str) -> Option<Number> {
        let bytes = text.as_bytes();
        let (negative, bytes) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, bytes),
        };
        if bytes.is_empty() || bytes.len() > KEPT_DIGITS as usize + 1 {
            return Number::parse(text);
        }
        let (mut digits, mut fraction, mut point) = (0_u64, 0_usize, false);
        for byte in bytes {
            match byte {
                b'0'..=b'9' => {
                    digits = digits * 10 + u64::from(byte - b'0');
                    fraction += usize::from(point);
                }
                b'.' if !point => point = true,
                _ => return Number::parse(text),
            }
        }
        // Without a point there may be one digit too many; a point alone is no number.
        if digits >= 1_000_000_000_000_000 || (point && bytes.len() == 1) {
            return Number::parse(text);
        }
        while fraction > 0 && digits.is_multiple_of(10) {
            digits /= 10;
            fraction -= 1;
        }
        let sign = if negative { -1 } else { 1 };
        Some(match fraction {
            0 => Number::Integer(sign * digits as i64),
            // Both exact, so the result is the nearest double.
            _ => Number::Real(f64::from(sign as i32) * (digits as f64 / POWERS[fraction])),
        })
    }
}

/// Two ASCII digits; more than 99 if they are none.
#[inline]
fn two(bytes: &[u8]) -> u16 {
    let (high, low) = (bytes[0].wrapping_sub(b'0'), bytes[1].wrapping_sub(b'0'));
    if high > 9 || low > 9 {
        return u16::MAX;
    }
    u16::from(high) * 10 + u16::from(low)
}

/// Reads `2026-11-22`.
pub(super) fn date(text: &[u8]) -> Option<Date> {
    match text.len() {
        10 => fast_date(text),
        _ => None,
    }
    .or_else(|| Date::parse(std::str::from_utf8(text).ok()?))
}

#[inline]
fn fast_date(text: &[u8]) -> Option<Date> {
    if text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (century, year, month, day) = (two(text), two(&text[2..]), two(&text[5..]), two(&text[8..]));
    if century > 99 || year > 99 {
        return None;
    }
    Date::new((century * 100 + year) as i16, month, day)
}

/// A time of day at the start of the text, `12:34:56` with or without a fraction, and what follows it.
#[inline]
fn fast_time(text: &[u8]) -> Option<(Time, &[u8])> {
    if text.len() < 8 || text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (two(text), two(&text[3..]), two(&text[6..]));
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &text[8..];
    let mut nanosecond = 0;
    if let [b'.', fraction @ ..] = rest {
        let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        for digit in &fraction[..count] {
            nanosecond = nanosecond * 10 + u32::from(digit - b'0');
        }
        nanosecond *= 10_u32.pow(9 - count as u32);
        rest = &fraction[count..];
    }
    let time = Time {
        negative: false,
        hour,
        minute,
        second,
        nanosecond,
    };
    Some((time, rest))
}

/// Date and time at the start of the text, and what follows them.
#[inline]
fn fast_timestamp(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    if text.len() < 19 || !matches!(text[10], b' ' | b'T') {
        return None;
    }
    let date = fast_date(&text[..10])?;
    let (time, rest) = fast_time(&text[11..])?;
    Some((Timestamp { date, time }, rest))
}

/// Reads a time of day or a span.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    match fast_time(text) {
        Some((time, [])) => Some(time),
        _ => Time::parse(std::str::from_utf8(text).ok()?),
    }
}

/// Reads a timestamp without a zone.
pub(super) fn timestamp(text: &[u8]) -> Option<Timestamp> {
    match fast_timestamp(text) {
        Some((timestamp, [])) => Some(timestamp),
        _ => Timestamp::parse(std::str::from_utf8(text).ok()?),
    }
}

/// Reads a timestamp with an offset; without one it is UTC, as for SQLite's own functions.
pub(super) fn instant(text: &[u8]) -> Option<OffsetTimestamp> {
    if let Some((local, rest)) = fast_timestamp(text) {
        let offset_minutes = match rest {
            [] | b"Z" => Some(0),
            [sign @ (b'+' | b'-'), hours @ ..] if hours.len() == 5 && hours[2] == b':' => {
                let (hours, minutes) = (two(hours), two(&hours[3..]));
                let minutes = (hours <= 99 && minutes <= 99).then_some((hours * 60 + minutes) as i16);
                minutes.map(|minutes| if *sign == b'-' { -minutes } else { minutes })
            }
            _ => None,
        };
        if let Some(offset_minutes) = offset_minutes {
            return Some(OffsetTimestamp { local, offset_minutes });
        }
    }
    let text = std::str::from_utf8(text).ok()?;
    OffsetTimestamp::parse(text).or_else(|| {
        Some(OffsetTimestamp {
            local: Timestamp::parse(text)?,
            offset_minutes: 0,
        })
    })
}

/// A spelled date or time, with room for the longest; kept in one place so that it can be bound.
#[derive(Clone, Copy, Default)]
pub(super) struct Spelled {
    bytes: [[u8; 20]; 2],
    length: usize,
}

impl Spelled {
    /// The text.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes.as_flattened()[..self.length]
    }

    fn push(&mut self, byte: u8) {
        self.bytes.as_flattened_mut()[self.length] = byte;
        self.length += 1;
    }

    fn push_two(&mut self, value: u16) {
        self.push(b'0' + (value / 10 % 10) as u8);
        self.push(b'0' + (value % 10) as u8);
    }

    /// As `Date` is displayed; false for a year that has not four digits.
    pub(super) fn date(&mut self, date: Date) -> bool {
        self.length = 0;
        self.push_date(date)
    }

    fn push_date(&mut self, date: Date) -> bool {
        let Ok(year) = u16::try_from(date.year) else {
            return false;
        };
        if year > 9_999 || date.month > 12 || date.day > 31 {
            return false;
        }
        self.push_two(year / 100);
        self.push_two(year % 100);
        self.push(b'-');
        self.push_two(date.month);
        self.push(b'-');
        self.push_two(date.day);
        true
    }

    /// As `Time` is displayed; false for one that has no such form.
    pub(super) fn time(&mut self, time: Time) -> bool {
        self.length = 0;
        self.push_time(time)
    }

    fn push_time(&mut self, time: Time) -> bool {
        if time.hour > 999 || time.minute > 59 || time.second > 59 || time.nanosecond > 999_999_999 {
            return false;
        }
        if time.negative {
            self.push(b'-');
        }
        if time.hour > 99 {
            self.push(b'0' + (time.hour / 100) as u8);
        }
        self.push_two(time.hour % 100);
        self.push(b':');
        self.push_two(time.minute);
        self.push(b':');
        self.push_two(time.second);
        if time.nanosecond > 0 {
            self.push(b'.');
            let (mut rest, mut place) = (time.nanosecond, 100_000_000);
            while rest > 0 {
                self.push(b'0' + (rest / place) as u8);
                rest %= place;
                place /= 10;
            }
        }
        true
    }

    /// As `Timestamp` is displayed; false for one that has no such form.
    pub(super) fn timestamp(&mut self, timestamp: Timestamp) -> bool {
        self.length = 0;
        let date = self.push_date(timestamp.date);
        self.push(b' ');
        date && self.push_time(timestamp.time)
    }

    /// As `OffsetTimestamp` is displayed; false for one that has no such form.
    pub(super) fn instant(&mut self, instant: OffsetTimestamp) -> bool {
        let minutes = instant.offset_minutes.unsigned_abs();
        if minutes >= 6_000 || !self.timestamp(instant.local) {
            return false;
        }
        self.push(if instant.offset_minutes < 0 { b'-' } else { b'+' });
        self.push_two(minutes / 60);
        self.push(b':');
        self.push_two(minutes % 60);
        true
    }
}

#[cfg(test)]
#[path = "spelling_tests.rs"]
mod tests;
