//! Dates and times, read from and written as ISO 8601 text; what the calendar does not have is refused. Years before
//! Christ and the infinities are spelled as PostgreSQL spells them (`0044-03-15 BC`, `-infinity`).

use std::fmt;

/// A day of the proleptic Gregorian calendar, up to the year 9999; also [`Date::INFINITY`],
/// [`Date::NEGATIVE_INFINITY`] and [`Date::ZERO`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Date {
    /// 1 to 9999; before it as astronomers count: 0 is 1 BC.
    pub year: i16,
    /// 1 to 12.
    pub month: u16,
    /// 1 to 31.
    pub day: u16,
}

/// A time of day, or a span of up to some hundred hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Time {
    /// Whether the span is negative.
    pub negative: bool,
    /// 0 to 23 for a time of day.
    pub hour: u16,
    /// 0 to 59.
    pub minute: u16,
    /// 0 to 59.
    pub second: u16,
    /// 0 to 999,999,999.
    pub nanosecond: u32,
}

/// Date and time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Timestamp {
    /// The day.
    pub date: Date,
    /// The time of that day.
    pub time: Time,
}

/// Local date and time, and how far they are ahead of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OffsetTimestamp {
    /// The local date and time.
    pub local: Timestamp,
    /// Minutes ahead of UTC.
    pub offset_minutes: i16,
}

impl Date {
    /// Later than every day (PostgreSQL's `infinity`); as a timestamp's date, with a time of zero.
    pub const INFINITY: Date = Date {
        year: i16::MAX,
        month: 0,
        day: 0,
    };

    /// Before every day (PostgreSQL's `-infinity`).
    pub const NEGATIVE_INFINITY: Date = Date {
        year: i16::MIN,
        month: 0,
        day: 0,
    };

    /// MariaDB's and MySQL's `0000-00-00`, which is no day.
    pub const ZERO: Date = Date {
        year: 0,
        month: 0,
        day: 0,
    };

    /// Whether it is one of the two infinities.
    pub fn is_infinite(self) -> bool {
        self == Date::INFINITY || self == Date::NEGATIVE_INFINITY
    }

    /// Whether it is a day, and neither infinite nor [`Date::ZERO`].
    pub fn is_day(self) -> bool {
        self.month != 0
    }

    /// The day, if the calendar has it and its year is one of 1 to 9999.
    pub fn new(year: i16, month: u16, day: u16) -> Option<Date> {
        Date::in_any_year(year, month, day).filter(|_| year >= 1)
    }

    /// The day, if the calendar has it; up to the year 9999, before the year 1 as astronomers count.
    pub fn in_any_year(year: i16, month: u16, day: u16) -> Option<Date> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u16::from(leap),
            4 | 6 | 9 | 11 => 30,
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            _ => return None,
        };
        (year <= 9999 && (1..=days).contains(&day)).then_some(Date { year, month, day })
    }

    /// Reads `2026-11-22`, `0044-03-15 BC`, `0000-00-00`, `infinity` or `-infinity`.
    pub fn parse(text: &str) -> Option<Date> {
        match text {
            "0000-00-00" => return Some(Date::ZERO),
            "infinity" => return Some(Date::INFINITY),
            "-infinity" => return Some(Date::NEGATIVE_INFINITY),
            _ => {}
        }
        let (text, before_christ) = without_bc(text);
        let mut parts = text.splitn(3, '-');
        let mut number = |width: usize| digits(parts.next()?, width..=width);
        let (year, month, day) = (number(4)?, number(2)?, number(2)?);
        match year as i16 {
            0 => None,
            year if before_christ => Date::in_any_year(1 - year, month as u16, day as u16),
            year => Date::new(year, month as u16, day as u16),
        }
    }

    /// Days since 1970-01-01 (Howard Hinnant's `days_from_civil`).
    pub fn days(self) -> i64 {
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    /// The day that many days after 1970-01-01; `None` after the year 9999, and where a year has no number.
    pub fn from_days(days: i64) -> Option<Date> {
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Date::in_any_year(i16::try_from(year).ok()?, month as u16, day as u16)
    }
}

impl Time {
    /// Reads `12:34`, `12:34:56` or `-838:59:59.123456789`.
    pub fn parse(text: &str) -> Option<Time> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut parts = text.splitn(3, ':');
        let hour = digits(parts.next()?, 1..=3)?;
        let minute = digits(parts.next()?, 2..=2)?;
        let (second, nanosecond) = match parts.next() {
            None => (0, 0),
            Some(text) => match text.split_once('.') {
                None => (digits(text, 2..=2)?, 0),
                Some((second, fraction)) => {
                    let value = digits(fraction, 1..=9)?;
                    (digits(second, 2..=2)?, value * 10_u32.pow(9 - fraction.len() as u32))
                }
            },
        };
        let valid = minute < 60 && second < 60;
        valid.then_some(Time {
            negative,
            hour: hour as u16,
            minute: minute as u16,
            second: second as u16,
            nanosecond,
        })
    }

    /// Whether it is a time of day and no longer or negative span.
    pub fn is_of_day(self) -> bool {
        !self.negative && self.hour < 24
    }

    /// The time with the fraction of its second rounded to so many digits, half of the last one away from zero; `None` if
    /// a time of day would be the next day's.
    pub fn rounded(self, digits: u8) -> Option<Time> {
        let unit = i64::from(10_u32.pow(u32::from(9 - digits.min(9))));
        let seconds = i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let nanoseconds = seconds * NANOSECONDS + i64::from(self.nanosecond);
        let rounded = (nanoseconds + unit / 2) / unit * unit;
        let seconds = rounded / NANOSECONDS;
        let time = Time {
            hour: u16::try_from(seconds / 3_600).ok()?,
            minute: (seconds / 60 % 60) as u16,
            second: (seconds % 60) as u16,
            nanosecond: (rounded % NANOSECONDS) as u32,
            negative: self.negative,
        };
        (time.is_of_day() || !self.is_of_day()).then_some(time)
    }

    /// The time in nanoseconds; negative for a negative span.
    pub fn nanoseconds(self) -> i64 {
        let seconds = i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let nanoseconds = seconds * NANOSECONDS + i64::from(self.nanosecond);
        if self.negative { -nanoseconds } else { nanoseconds }
    }

    /// The time of so many nanoseconds, of some thousand hours at most.
    pub fn of_nanoseconds(nanoseconds: i64) -> Time {
        let size = nanoseconds.unsigned_abs();
        let seconds = size / NANOSECONDS.unsigned_abs();
        Time {
            negative: nanoseconds < 0,
            hour: u16::try_from(seconds / 3_600).unwrap_or(u16::MAX),
            minute: (seconds / 60 % 60) as u16,
            second: (seconds % 60) as u16,
            nanosecond: (size % NANOSECONDS.unsigned_abs()) as u32,
        }
    }

    /// How many digits of the second's fraction it needs.
    pub fn fraction_digits(self) -> u8 {
        let mut fraction = self.nanosecond;
        if fraction == 0 {
            return 0;
        }
        let mut needed = 9;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            needed -= 1;
        }
        needed
    }
}

impl Timestamp {
    /// Reads a date and a time of day with a space or `T` between them, perhaps with ` BC` after them; a date alone is
    /// its midnight.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let (whole, before_christ) = without_bc(text);
        let Some((date, time)) = whole.split_once([' ', 'T']) else {
            return Some(Timestamp {
                date: Date::parse(text)?,
                time: Time::default(),
            });
        };
        let time = Time::parse(time).filter(|time| time.is_of_day())?;
        let date = match before_christ {
            true => Date::parse(&format!("{date}{BC}"))?,
            false => Date::parse(date)?,
        };
        (date.is_day() || time == Time::default()).then_some(Timestamp { date, time })
    }
}

impl Timestamp {
    /// The timestamp with the fraction of its second rounded to so many digits, half of the last one up; `None` after the
    /// year 9999.
    pub fn rounded(self, digits: u8) -> Option<Timestamp> {
        if !self.date.is_day() {
            return Some(self);
        }
        match self.time.rounded(digits) {
            Some(time) => Some(Timestamp { time, ..self }),
            None => shifted(
                Timestamp {
                    date: self.date,
                    time: Time::default(),
                },
                86_400,
            ),
        }
    }
}

impl OffsetTimestamp {
    /// Reads a timestamp that ends in `Z`, `+02`, `+02:00`, `+0200` or, for local mean times, `+00:53:28`.
    ///
    /// An offset that is no whole minute is turned into UTC.
    pub fn parse(text: &str) -> Option<OffsetTimestamp> {
        let (text, before_christ) = without_bc(text);
        let parse_local = |text: &str| match before_christ {
            true => Timestamp::parse(&format!("{}{BC}", text.trim_end())),
            false => Timestamp::parse(text.trim_end()),
        };
        if let Some(local) = text.strip_suffix(['Z', 'z']) {
            return Some(OffsetTimestamp {
                local: parse_local(local)?,
                offset_minutes: 0,
            });
        }
        // Behind the date, whose hyphens are no signs.
        let sign = text
            .char_indices()
            .skip(10)
            .find(|(_, letter)| matches!(letter, '+' | '-'))?
            .0;
        let local = parse_local(text.get(..sign)?)?;
        let offset = &text[sign + 1..];
        let compact = offset.replace(':', "");
        let number = digits(&compact, 2..=6)?;
        let seconds = match compact.len() {
            2 => number * 3_600,
            4 => number / 100 * 3_600 + number % 100 * 60,
            6 => number / 10_000 * 3_600 + number / 100 % 100 * 60 + number % 100,
            _ => return None,
        };
        let seconds = if text[sign..].starts_with('-') {
            -i64::from(seconds)
        } else {
            i64::from(seconds)
        };
        if seconds % 60 == 0 {
            return Some(OffsetTimestamp {
                local,
                offset_minutes: (seconds / 60) as i16,
            });
        }
        Some(OffsetTimestamp {
            local: shifted(local, -seconds)?,
            offset_minutes: 0,
        })
    }

    /// The same instant as date and time in UTC; `None` if that is after the year 9999.
    pub fn utc(self) -> Option<Timestamp> {
        if self.offset_minutes == 0 || !self.local.date.is_day() {
            return Some(self.local);
        }
        shifted(self.local, -60 * i64::from(self.offset_minutes))
    }
}

const NANOSECONDS: i64 = 1_000_000_000;

/// The timestamp that many seconds later.
fn shifted(timestamp: Timestamp, seconds: i64) -> Option<Timestamp> {
    let time = timestamp.time;
    let of_day = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second);
    let total = timestamp.date.days() * 86_400 + of_day + seconds;
    let date = Date::from_days(total.div_euclid(86_400))?;
    let of_day = total.rem_euclid(86_400);
    let time = Time {
        hour: (of_day / 3_600) as u16,
        minute: (of_day / 60 % 60) as u16,
        second: (of_day % 60) as u16,
        ..time
    };
    Some(Timestamp { date, time })
}

/// What follows a date, or a date and time, before Christ.
const BC: &str = " BC";

/// The text without ` BC`, and whether that was there.
fn without_bc(text: &str) -> (&str, bool) {
    text.strip_suffix(BC).map_or((text, false), |text| (text, true))
}

/// A number of nothing but ASCII digits, as many as `width` allows.
fn digits(text: &str, width: std::ops::RangeInclusive<usize>) -> Option<u32> {
    (width.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A date and what stands between it and ` BC`, which comes last.
fn write_date(f: &mut fmt::Formatter<'_>, date: Date, rest: fmt::Arguments<'_>) -> fmt::Result {
    let Date { year, month, day } = date;
    match date {
        Date::INFINITY => f.write_str("infinity"),
        Date::NEGATIVE_INFINITY => f.write_str("-infinity"),
        _ if year > 0 || date == Date::ZERO => write!(f, "{year:04}-{month:02}-{day:02}{rest}"),
        _ => write!(f, "{:04}-{month:02}-{day:02}{rest}{BC}", 1 - i32::from(year)),
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_date(f, *self, format_args!(""))
    }
}

impl fmt::Display for Time {
    /// `12:34:56`, with as many digits of the fraction as it needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        write!(f, "{sign}{:02}:{:02}:{:02}", self.hour, self.minute, self.second)?;
        match usize::from(self.fraction_digits()) {
            0 => Ok(()),
            digits => write!(f, ".{}", &format!("{:09}", self.nanosecond)[..digits]),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_date(f, self.date, format_args!(" {}", self.time))
    }
}

impl fmt::Display for OffsetTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let minutes = self.offset_minutes.unsigned_abs();
        let Timestamp { date, time } = self.local;
        let (hours, minutes) = (minutes / 60, minutes % 60);
        write_date(f, date, format_args!(" {time}{sign}{hours:02}:{minutes:02}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_the_calendar_lacks_are_refused() {
        assert_eq!(Date::parse("2024-02-29").unwrap().to_string(), "2024-02-29");
        for text in [
            "0000-00-01",
            "0000-01-01",
            "2023-02-29",
            "10000-01-01",
            "2024-1-1",
            "0044-03-15 AD",
            "0000-03-15 BC",
            "2024-13-01",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_keep_every_digit_and_spans_their_sign() {
        for text in ["00:00:00", "23:59:59.999999999", "-838:59:59.5", "12:34:56.000001"] {
            assert_eq!(Time::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Time::parse("12:34").unwrap().to_string(), "12:34:00");
        for text in ["24:60:00", "1:2:3", "12:34:60", "12:34:56.", "+1:00:00"] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_fraction_is_rounded_over_the_ends_of_seconds_days_and_years() {
        let rounded = |text: &str, digits| {
            Timestamp::parse(text)
                .unwrap()
                .rounded(digits)
                .map(|value| value.to_string())
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(
            rounded("2024-01-01 12:00:00.1234565", 6),
            is("2024-01-01 12:00:00.123457")
        );
        assert_eq!(
            rounded("2024-01-01 12:00:00.1234564", 6),
            is("2024-01-01 12:00:00.123456")
        );
        assert_eq!(rounded("1999-12-31 23:59:59.9999999", 6), is("2000-01-01 00:00:00"));
        assert_eq!(rounded("2024-01-01 12:00:00.5", 0), is("2024-01-01 12:00:01"));
        assert_eq!(rounded("9999-12-31 23:59:59.9999999", 6), None);
        assert_eq!(Time::parse("23:59:59.9999999").unwrap().rounded(6), None);
        assert_eq!(
            Time::parse("-25:59:59.96").unwrap().rounded(1),
            Time::parse("-26:00:00")
        );
    }

    #[test]
    fn an_instant_is_the_same_in_utc_over_midnight_and_leap_days() {
        let utc = |text: &str| OffsetTimestamp::parse(text).unwrap().utc().unwrap().to_string();
        assert_eq!(utc("2024-03-01 00:30:00.25+02"), "2024-02-29 22:30:00.25");
        assert_eq!(utc("1999-12-31T23:30:00-0130"), "2000-01-01 01:00:00");
        assert_eq!(utc("1890-01-01 00:53:28+00:53:28"), "1890-01-01 00:00:00");
        assert_eq!(utc("0001-01-01 00:00:00Z"), "0001-01-01 00:00:00");
        assert_eq!(utc("0001-01-01 00:00:00+01"), "0001-12-31 23:00:00 BC");
        assert_eq!(OffsetTimestamp::parse("9999-12-31 23:30:00-01").unwrap().utc(), None);
        assert_eq!(OffsetTimestamp::parse("2024-01-01 00:00:00"), None);
    }

    #[test]
    fn what_is_no_day_of_our_era_is_spelled_as_it_is_read() {
        for text in [
            "0044-03-15 BC",
            "0005-02-29 BC",
            "4713-01-01 BC",
            "infinity",
            "-infinity",
            "0000-00-00",
        ] {
            let date = Date::parse(text).unwrap();
            assert_eq!(date.to_string(), text);
            assert_eq!(Timestamp::parse(text).unwrap().date, date);
        }
        assert_eq!(Date::parse("0001-01-01 BC"), Date::in_any_year(0, 1, 1));
        for text in ["0044-03-15 12:30:00.5 BC", "0005-02-29 00:00:00 BC", "infinity"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        let zero = Timestamp::parse("0000-00-00 00:00:00").unwrap();
        assert_eq!(
            (zero.date, zero.to_string().as_str()),
            (Date::ZERO, "0000-00-00 00:00:00")
        );
        assert_eq!(Timestamp::parse("0000-00-00 00:00:01"), None);
        let instant = "0044-03-15 12:30:00+01:00 BC";
        assert_eq!(OffsetTimestamp::parse(instant).unwrap().to_string(), instant);
        assert_eq!(
            OffsetTimestamp::parse(instant).unwrap().utc(),
            Timestamp::parse("0044-03-15 11:30:00 BC")
        );
    }

    #[test]
    fn days_count_on_through_every_year() {
        let mut expected = Date {
            year: 1,
            month: 1,
            day: 1,
        }
        .days();
        for year in 1..=9999 {
            for month in 1..=12 {
                for day in 1..=31 {
                    if let Some(date) = Date::new(year, month, day) {
                        assert_eq!(date.days(), expected);
                        assert_eq!(Date::from_days(expected), Some(date));
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(Date::parse("1970-01-01").unwrap().days(), 0);
    }
}
