//! Dates and times, always in UTC, written in .NET's formats.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use serde_json::Value;

/// The format of a time that names none: `2026-11-21T05:00:00.0000000Z`.
const ROUND_TRIP: &str = "yyyy-MM-ddTHH:mm:ss.fffffffZ";

/// The time now, in Data Factory's own format.
pub fn now() -> String {
    write(here(), ROUND_TRIP).unwrap_or_default()
}

fn here() -> DateTime {
    Timestamp::now().to_zoned(TimeZone::UTC).datetime()
}

/// What a function of time gives; `None` for any other, and for arguments that it does not take.
pub(super) fn call(name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let texts = |from: usize| arguments.get(from).map_or(Some(ROUND_TRIP), Value::as_str);
    let wrong = || Some(Err("it does not take such arguments".to_owned()));
    let written = |time: Result<DateTime, String>, from: usize| match texts(from) {
        Some(format) if arguments.len() <= from + 1 => {
            Some(time.and_then(|time| write(time, format)).map(Value::String))
        }
        _ => wrong(),
    };
    let unit_of = |name: &str| match name {
        "adddays" => Some("day"),
        "addhours" => Some("hour"),
        "addminutes" => Some("minute"),
        "addseconds" => Some("second"),
        _ => None,
    };
    if let Some(unit) = unit_of(name) {
        return match arguments {
            [Value::String(time), count, ..] => written(read(time).and_then(|time| moved(time, count, unit, 1)), 2),
            _ => wrong(),
        };
    }
    match (name, arguments) {
        ("utcnow", _) => written(Ok(here()), 0),
        ("formatdatetime", [Value::String(time), ..]) => written(read(time), 1),
        ("addtotime" | "subtractfromtime", [Value::String(time), count, Value::String(unit), ..]) => {
            let sign = if name == "addtotime" { 1 } else { -1 };
            written(read(time).and_then(|time| moved(time, count, unit, sign)), 3)
        }
        ("getfuturetime" | "getpasttime", [count, Value::String(unit), ..]) => {
            let sign = if name == "getfuturetime" { 1 } else { -1 };
            written(moved(here(), count, unit, sign), 2)
        }
        ("startofday" | "startofhour" | "startofmonth", [Value::String(time), ..]) => {
            written(read(time).map(|time| start_of(name, time)), 1)
        }
        ("dayofmonth" | "dayofweek" | "dayofyear" | "ticks", [Value::String(time)]) => {
            Some(read(time).map(|time| number_of(name, time)))
        }
        _ => None,
    }
}

/// A time with an offset in its own, one without in UTC.
fn read(text: &str) -> Result<DateTime, String> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.to_zoned(TimeZone::UTC).datetime());
    }
    // jiff takes no `Z` here, lest somebody believe it was heeded.
    let parsed = text.trim_end_matches(['Z', 'z']).parse::<DateTime>();
    parsed.map_err(|_| "its argument is no time such as 2026-11-21T05:00:00Z".to_owned())
}

fn moved(time: DateTime, count: &Value, unit: &str, sign: i64) -> Result<DateTime, String> {
    let count = count.as_i64().and_then(|count| count.checked_mul(sign));
    let count = count.ok_or("it counts in whole numbers")?;
    let unit = unit.to_ascii_lowercase();
    let span: Result<Span, _> = match unit.trim_end_matches('s') {
        "second" => 0.seconds().try_seconds(count),
        "minute" => 0.seconds().try_minutes(count),
        "hour" => 0.seconds().try_hours(count),
        "day" => 0.seconds().try_days(count),
        "week" => 0.seconds().try_weeks(count),
        "month" => 0.seconds().try_months(count),
        "year" => 0.seconds().try_years(count),
        _ => return Err("its unit is none of Second, Minute, Hour, Day, Week, Month, Year".to_owned()),
    };
    let moved = span.and_then(|span| time.checked_add(span));
    moved.map_err(|_| "the result is no time between the years 1 and 9999".to_owned())
}

fn start_of(name: &str, time: DateTime) -> DateTime {
    let date = match name {
        "startofmonth" => time.date().first_of_month(),
        _ => time.date(),
    };
    match name {
        "startofhour" => date.at(time.hour(), 0, 0, 0),
        _ => date.at(0, 0, 0, 0),
    }
}

fn number_of(name: &str, time: DateTime) -> Value {
    match name {
        "dayofmonth" => Value::from(time.day()),
        "dayofweek" => Value::from(time.weekday().to_sunday_zero_offset()),
        "dayofyear" => Value::from(time.day_of_year()),
        _ => {
            // Steps of 100 ns since the first day of the year 1.
            let since = time.duration_since(DateTime::constant(1, 1, 1, 0, 0, 0, 0));
            Value::from(i64::try_from(since.as_nanos() / 100).unwrap_or(i64::MAX))
        }
    }
}

/// A time in one of .NET's formats, with English names.
fn write(time: DateTime, format: &str) -> Result<String, String> {
    let format = match format {
        "" => "MM/dd/yyyy HH:mm:ss",
        "d" => "MM/dd/yyyy",
        "D" => "dddd, dd MMMM yyyy",
        "f" => "dddd, dd MMMM yyyy HH:mm",
        "F" | "U" => "dddd, dd MMMM yyyy HH:mm:ss",
        "g" => "MM/dd/yyyy HH:mm",
        "G" => "MM/dd/yyyy HH:mm:ss",
        "m" | "M" => "MMMM dd",
        "o" | "O" => ROUND_TRIP,
        "r" | "R" => "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
        "s" => "yyyy-MM-ddTHH:mm:ss",
        "t" => "HH:mm",
        "T" => "HH:mm:ss",
        "u" => "yyyy-MM-dd HH:mm:ss'Z'",
        "y" | "Y" => "yyyy MMMM",
        other if other.chars().count() == 1 => return Err(format!("`{other}` is no standard format of times")),
        // A single letter of a format is written with a `%`.
        other => other.strip_prefix('%').unwrap_or(other),
    };
    let letters: Vec<char> = format.chars().collect();
    let mut written = String::new();
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        if letter == '\\' {
            written.extend(letters.get(at + 1));
            at += 2;
        } else if letter == '\'' || letter == '"' {
            let quoted = letters[at + 1..].iter().take_while(|other| **other != letter);
            let before = written.len();
            written.extend(quoted);
            at += written[before..].chars().count() + 2;
        } else {
            let count = letters[at..].iter().take_while(|other| **other == letter).count();
            write_part(time, letter, count, &mut written);
            at += count;
        }
    }
    Ok(written)
}

fn write_part(time: DateTime, letter: char, count: usize, written: &mut String) {
    let name = |directive: &str| time.strftime(directive).to_string();
    let number = |value: i32| format!("{value:0>width$}", width = count.min(2));
    let hour = i32::from(time.hour());
    let fraction = || format!("{:09}", time.subsec_nanosecond())[..count.min(7)].to_owned();
    let part = match (letter, count) {
        ('y', 1 | 2) => number(i32::from(time.year()) % 100),
        ('y', _) => format!("{:0>count$}", time.year()),
        ('M', 1 | 2) => number(i32::from(time.month())),
        ('M', 3) => name("%b"),
        ('M', _) => name("%B"),
        ('d', 1 | 2) => number(i32::from(time.day())),
        ('d', 3) => name("%a"),
        ('d', _) => name("%A"),
        ('H', _) => number(hour),
        ('h', _) => number((hour + 11) % 12 + 1),
        ('m', _) => number(i32::from(time.minute())),
        ('s', _) => number(i32::from(time.second())),
        ('f', _) => fraction(),
        ('F', _) => fraction().trim_end_matches('0').to_owned(),
        ('t', 1) => if hour < 12 { "A" } else { "P" }.to_owned(),
        ('t', _) => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        ('K', _) => "Z".repeat(count),
        ('z', 1) => "+0".to_owned(),
        ('z', 2) => "+00".to_owned(),
        ('z', _) => "+00:00".to_owned(),
        ('g', _) => "A.D.".to_owned(),
        (other, count) => other.to_string().repeat(count),
    };
    written.push_str(&part);
}
