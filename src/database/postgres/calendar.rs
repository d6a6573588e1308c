//! Dates and times in PostgreSQL's binary form: days and microseconds since 2000-01-01, and infinities.
//!
//! The form: `date_send`, `timestamp_send` and `time_send` of PostgreSQL 10 and later. The calendar is Howard Hinnant's
//! `civil_from_days`, without a division by a negative number; it runs for every date that is copied.

use super::super::temporal::{Date, OffsetTimestamp, Time, Timestamp};

/// Days from 0000-03-01 of 4,800 years earlier, where this module counts from, to 2000-01-01: positive for every date
/// that PostgreSQL has.
const EPOCH_DAYS: i64 = 12 * DAYS_IN_ERA + 719_468 + 10_957;

/// Days in 400 years.
const DAYS_IN_ERA: i64 = 146_097;

/// The years that [`EPOCH_DAYS`] is shifted by.
const SHIFT_YEARS: i32 = 4_800;

/// 9999-12-31.
const LAST_DAY: i64 = 2_921_939;

/// 24 November 4714 BC, the first day that PostgreSQL has.
const FIRST_DAY: i64 = -2_451_545;

const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// Why a value is not read.
pub(super) const BEYOND_YEARS: &str = "the value is beyond the year 9999";

/// The date that many days after 2000-01-01.
///
/// # Errors
/// If it is outside the years that a batch holds.
pub(super) fn date_from_days(days: i32) -> Result<Date, &'static str> {
    match days {
        i32::MAX => Ok(Date::INFINITY),
        i32::MIN => Ok(Date::NEGATIVE_INFINITY),
        days => civil(i64::from(days)),
    }
}

fn civil(days: i64) -> Result<Date, &'static str> {
    if !(FIRST_DAY..=LAST_DAY).contains(&days) {
        return Err(BEYOND_YEARS);
    }
    let days = (days + EPOCH_DAYS) as u32;
    let era = days / DAYS_IN_ERA as u32;
    let day_of_era = days % DAYS_IN_ERA as u32;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next) = if month_from_march < 10 {
        (month_from_march + 3, 0)
    } else {
        (month_from_march - 9, 1)
    };
    let year = (year_of_era + era * 400) as i32 - SHIFT_YEARS + next;
    Ok(Date {
        year: year as i16,
        month: month as u16,
        day: day as u16,
    })
}

/// Days from 2000-01-01 to a date.
pub(super) fn days_from_date(date: Date) -> i32 {
    match date {
        Date::INFINITY => i32::MAX,
        Date::NEGATIVE_INFINITY => i32::MIN,
        date => days(date) as i32,
    }
}

fn days(date: Date) -> i64 {
    let (month, day) = (u32::from(date.month), u32::from(date.day));
    let year = (i32::from(date.year) + SHIFT_YEARS) as u32 - u32::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day.max(1) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i64::from(era) * DAYS_IN_ERA + i64::from(day_of_era) - EPOCH_DAYS
}

/// The time of day of that many microseconds after midnight; PostgreSQL has a 24:00:00.
pub(super) fn time_from_microseconds(microseconds: i64) -> Result<Time, &'static str> {
    if !(0..=DAY_MICROSECONDS).contains(&microseconds) {
        return Err("the server sent a time that is none");
    }
    let seconds = (microseconds / 1_000_000) as u32;
    Ok(Time {
        negative: false,
        hour: (seconds / 3_600) as u16,
        minute: (seconds / 60 % 60) as u16,
        second: (seconds % 60) as u16,
        nanosecond: (microseconds % 1_000_000) as u32 * 1_000,
    })
}

/// Microseconds from midnight to a time of day.
///
/// # Errors
/// If it is no time of day, or has a fraction that the server does not hold.
pub(super) fn microseconds_from_time(time: Time) -> Result<i64, &'static str> {
    if !time.nanosecond.is_multiple_of(1_000) {
        return Err("the value has more digits of a second's fraction than the six that the server holds");
    }
    let seconds = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second);
    let microseconds = seconds * 1_000_000 + i64::from(time.nanosecond / 1_000);
    if time.negative || microseconds > DAY_MICROSECONDS {
        return Err("the value is a span beyond a day, and the column is a time of day");
    }
    Ok(microseconds)
}

/// The timestamp that many microseconds after 2000-01-01.
///
/// # Errors
/// If it is outside the years that a batch holds.
pub(super) fn timestamp_from_microseconds(microseconds: i64) -> Result<Timestamp, &'static str> {
    let infinite = |date: Date| Timestamp {
        date,
        time: Time::default(),
    };
    match microseconds {
        i64::MAX => Ok(infinite(Date::INFINITY)),
        i64::MIN => Ok(infinite(Date::NEGATIVE_INFINITY)),
        microseconds => Ok(Timestamp {
            date: civil(microseconds.div_euclid(DAY_MICROSECONDS))?,
            time: time_from_microseconds(microseconds.rem_euclid(DAY_MICROSECONDS))?,
        }),
    }
}

/// Microseconds from 2000-01-01 to a timestamp.
///
/// # Errors
/// Those of [`microseconds_from_time`].
pub(super) fn microseconds_from_timestamp(timestamp: Timestamp) -> Result<i64, &'static str> {
    match timestamp.date {
        Date::INFINITY => Ok(i64::MAX),
        Date::NEGATIVE_INFINITY => Ok(i64::MIN),
        date => Ok(days(date) * DAY_MICROSECONDS + microseconds_from_time(timestamp.time)?),
    }
}

/// Microseconds from 2000-01-01 00:00 UTC to a point in time.
///
/// # Errors
/// Those of [`microseconds_from_time`].
pub(super) fn microseconds_from_instant(instant: OffsetTimestamp) -> Result<i64, &'static str> {
    let local = microseconds_from_timestamp(instant.local)?;
    if instant.local.date.is_infinite() {
        return Ok(local);
    }
    Ok(local - i64::from(instant.offset_minutes) * 60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: i16, month: u16, day: u16) -> Date {
        Date { year, month, day }
    }

    #[test]
    fn dates_are_the_servers() {
        // `SELECT DATE '…' - DATE '2000-01-01'` of PostgreSQL 15.
        let cases = [
            (date(2000, 1, 1), 0),
            (date(1970, 1, 1), -10_957),
            (date(2024, 2, 29), 8_825),
            (date(1, 1, 1), -730_119),
            (date(0, 12, 31), -730_120),
            (date(-43, 3, 15), -746_117),
            (date(-4713, 11, 24), -2_451_545),
            (date(9999, 12, 31), 2_921_939),
            (Date::INFINITY, i32::MAX),
            (Date::NEGATIVE_INFINITY, i32::MIN),
        ];
        for (date, days) in cases {
            assert_eq!(days_from_date(date), days, "{date:?}");
            assert_eq!(date_from_days(days), Ok(date));
        }
        for days in [2_921_940, -2_451_546, i32::MAX - 1, i32::MIN + 1] {
            assert_eq!(date_from_days(days), Err(BEYOND_YEARS));
        }
    }

    #[test]
    fn each_day_is_followed_by_the_next_one() {
        let mut before = civil(FIRST_DAY).unwrap();
        for number in FIRST_DAY + 1..=LAST_DAY {
            let after = civil(number).unwrap();
            let next_day = after.day == before.day + 1 && (after.year, after.month) == (before.year, before.month);
            let next_month = after.day == 1
                && ((after.year, after.month) == (before.year, before.month + 1)
                    || (after.year, after.month, before.month) == (before.year + 1, 1, 12));
            assert!(next_day || next_month, "{before:?} {after:?}");
            assert_eq!(days(after), number);
            before = after;
        }
    }

    #[test]
    fn timestamps_keep_their_microseconds_before_and_after_2000() {
        for (microseconds, text) in [
            (0, "2000-01-01 00:00:00"),
            (-1, "1999-12-31 23:59:59.999999"),
            (1, "2000-01-01 00:00:00.000001"),
            (762_523_199_123_456, "2024-02-29 11:59:59.123456"),
            (-63_082_281_600_000_000, "0001-01-01 00:00:00"),
        ] {
            let timestamp = timestamp_from_microseconds(microseconds).unwrap();
            assert_eq!(timestamp.to_string(), text);
            assert_eq!(microseconds_from_timestamp(timestamp), Ok(microseconds));
        }
        for microseconds in [i64::MAX, i64::MIN] {
            let timestamp = timestamp_from_microseconds(microseconds).unwrap();
            assert_eq!(microseconds_from_timestamp(timestamp), Ok(microseconds));
        }
    }

    #[test]
    fn an_instant_is_counted_in_utc() {
        let instant = OffsetTimestamp::parse("2000-01-01 01:00:00+02").unwrap();
        assert_eq!(microseconds_from_instant(instant), Ok(-3_600_000_000));
    }

    #[test]
    fn what_the_server_does_not_hold_is_refused() {
        let time = |text: &str| microseconds_from_time(Time::parse(text).unwrap());
        assert_eq!(time("24:00:00"), Ok(DAY_MICROSECONDS));
        assert_eq!(time("23:59:59.999999"), Ok(DAY_MICROSECONDS - 1));
        for text in ["24:00:00.000001", "-00:00:01", "00:00:00.0000001"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert!(time_from_microseconds(-1).is_err());
    }
}
