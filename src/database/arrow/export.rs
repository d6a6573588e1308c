//! A batch as a record batch of Arrow's. Pure; what the types cannot hold was refused before, except what a timestamp of
//! nanoseconds has no room for.

use super::{
    abi::{self, ArrowArray, Buffer},
    types::{Type, Unit},
};
use crate::database::{
    batch::{Batch, ColumnData, Packed, Values},
    decimal::Digits,
    temporal::{Time, Timestamp},
};

/// A value that does not go.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The column's place, from 0.
    pub column: usize,
    /// The row within the batch, from 0.
    pub row: usize,
    /// Why; never the value.
    pub reason: &'static str,
}

const OUTSIDE_NANOSECONDS: &str =
    "the value is outside the years 1677 to 2262, which a timestamp of nanoseconds in 64 bits holds";

/// The batch, whose columns have the layouts of these types.
///
/// # Errors
/// The first value that does not go.
pub fn record_batch(batch: &Batch, types: &[Type]) -> Result<ArrowArray, Unfit> {
    let columns = batch.columns.iter().zip(types).enumerate();
    let columns = columns
        .map(|(place, (column, to))| {
            column_of(column, to).map_err(|(row, reason)| Unfit {
                column: place,
                row,
                reason,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(abi::batch_of(batch.rows(), columns))
}

/// Which row, and why.
type Refused = (usize, &'static str);

fn column_of(column: &ColumnData, to: &Type) -> Result<abi::Column, Refused> {
    let nulls = column.nulls.iter().filter(|null| **null).count();
    let validity = (nulls > 0).then(|| Buffer::from(bits(column.nulls.iter().map(|null| !null))));
    let mut buffers = vec![validity];
    let values: Buffer = match (&column.values, to) {
        (Values::I64(values), Type::Boolean) => bits(values.iter().map(|value| *value != 0)).into(),
        (Values::I64(values), Type::Integer { bits, signed }) => match (bits, signed) {
            // The conversion has looked at each that it fits.
            (8, true) => values.iter().map(|value| *value as i8).collect::<Vec<_>>().into(),
            (8, false) => values.iter().map(|value| *value as u8).collect::<Vec<_>>().into(),
            (16, true) => values.iter().map(|value| *value as i16).collect::<Vec<_>>().into(),
            (16, false) => values.iter().map(|value| *value as u16).collect::<Vec<_>>().into(),
            (32, true) => values.iter().map(|value| *value as i32).collect::<Vec<_>>().into(),
            (32, false) => values.iter().map(|value| *value as u32).collect::<Vec<_>>().into(),
            _ => values.clone().into(),
        },
        (Values::F64(values), Type::Float { bits: 32 }) => {
            values.iter().map(|value| *value as f32).collect::<Vec<_>>().into()
        }
        (Values::F64(values), Type::Float { .. }) => values.clone().into(),
        (Values::Decimal(packed), Type::Integer { .. }) => each(column, |row| {
            u64::try_from(narrow(packed.get(row), 0)?).map_err(|_| NO_NUMBER)
        })?
        .into(),
        (Values::Decimal(packed), Type::Decimal { scale, bits: 128, .. }) => {
            each(column, |row| narrow(packed.get(row), *scale as usize))?.into()
        }
        (Values::Decimal(packed), Type::Decimal { scale, .. }) => {
            each(column, |row| wide(packed.get(row), *scale as usize))?.into()
        }
        (Values::Text(packed) | Values::Bytes(packed), Type::Text(_) | Type::Bytes(_)) => {
            buffers.push(Some(places(packed).into()));
            packed.parts().1.to_vec().into()
        }
        (Values::Date(dates), Type::Date { .. }) => dates
            .iter()
            .zip(&column.nulls)
            .map(|(date, null)| if *null { 0 } else { date.days() as i32 })
            .collect::<Vec<_>>()
            .into(),
        (Values::Time(times), Type::Time(unit)) => times
            .iter()
            .map(|time| of_day(*time) / nanoseconds(*unit))
            .collect::<Vec<_>>()
            .into(),
        (Values::Timestamp(values), Type::Timestamp(unit)) => {
            each(column, |row| since_1970(values[row], *unit))?.into()
        }
        (Values::Instant(values), Type::Instant(unit)) => each(column, |row| {
            let utc = values[row].utc().ok_or("the value is after the year 9999 in UTC")?;
            since_1970(utc, *unit)
        })?
        .into(),
        (values, to) => unreachable!("a column of {values:?} is not handed out as {to:?}"),
    };
    buffers.push(Some(values));
    Ok(abi::Column { nulls, buffers })
}

const NO_NUMBER: &str = "the value is no number of the size that its column declares";

/// Each row's value in its form for Arrow, zero where it is NULL.
fn each<T: Copy + Default>(
    column: &ColumnData,
    value: impl Fn(usize) -> Result<T, &'static str>,
) -> Result<Vec<T>, Refused> {
    let rows = column.nulls.iter().enumerate();
    rows.map(|(row, null)| match null {
        true => Ok(T::default()),
        false => value(row).map_err(|reason| (row, reason)),
    })
    .collect()
}

/// One bit a value, the first the lowest of its byte.
fn bits(values: impl ExactSizeIterator<Item = bool>) -> Vec<u8> {
    let mut packed = vec![0; values.len().div_ceil(8)];
    for (place, value) in values.enumerate() {
        packed[place / 8] |= u8::from(value) << (place % 8);
    }
    packed
}

/// Where the values begin, and where the last one ends.
fn places(packed: &Packed) -> Vec<i64> {
    let ends = packed.parts().0.iter().map(|end| *end as i64);
    std::iter::once(0).chain(ends).collect()
}

/// Hands each digit of a number on that has so many after the point, and whether it is negative.
fn digits(text: &[u8], scale: usize, mut digit: impl FnMut(u8) -> Option<()>) -> Option<bool> {
    let Digits {
        negative,
        whole,
        fraction,
    } = Digits::parse(std::str::from_utf8(text).ok()?)?;
    let zeros = scale.checked_sub(fraction.len())?;
    whole
        .bytes()
        .chain(fraction.bytes())
        .chain(std::iter::repeat_n(b'0', zeros))
        .try_for_each(|letter| digit(letter - b'0'))?;
    Some(negative)
}

/// The digits without their point as a number of 128 bits.
fn narrow(text: &[u8], scale: usize) -> Result<i128, &'static str> {
    let mut number = 0_i128;
    let negative = digits(text, scale, |digit| {
        number = number.checked_mul(10)?.checked_add(i128::from(digit))?;
        Some(())
    });
    match negative.ok_or(NO_NUMBER)? {
        true => Ok(-number),
        false => Ok(number),
    }
}

/// The same as one of 256 bits, the lowest 64 first, negative ones as their two's complement.
fn wide(text: &[u8], scale: usize) -> Result<[u64; 4], &'static str> {
    let mut number = [0_u64; 4];
    let negative = digits(text, scale, |digit| {
        let mut carry = u128::from(digit);
        for part in &mut number {
            carry += u128::from(*part) * 10;
            *part = carry as u64;
            carry >>= 64;
        }
        // The highest bit is the sign's.
        (carry == 0 && number[3] >> 63 == 0).then_some(())
    });
    if negative.ok_or(NO_NUMBER)? {
        let mut carry = true;
        for part in &mut number {
            (*part, carry) = (!*part).overflowing_add(u64::from(carry));
        }
    }
    Ok(number)
}

/// Nanoseconds since midnight.
fn of_day(time: Time) -> i64 {
    let seconds = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second);
    seconds * 1_000_000_000 + i64::from(time.nanosecond)
}

/// Nanoseconds of a unit.
fn nanoseconds(unit: Unit) -> i64 {
    10_i64.pow(u32::from(9 - unit.digits()))
}

fn since_1970(timestamp: Timestamp, unit: Unit) -> Result<i64, &'static str> {
    // The last day before the first whole one that fits would be lost without the wider number.
    let units = i128::from(timestamp.date.days()) * i128::from(86_400_000_000_000 / nanoseconds(unit))
        + i128::from(of_day(timestamp.time) / nanoseconds(unit));
    i64::try_from(units).map_err(|_| OUTSIDE_NANOSECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::temporal::Date;

    #[test]
    fn decimals_keep_every_digit_and_their_sign() {
        assert_eq!(narrow(b"-0012.50", 3), Ok(-12_500));
        assert_eq!(
            narrow(b"99999999999999999999999999999999999999", 0),
            Ok(10_i128.pow(38) - 1)
        );
        assert_eq!(narrow(b"1.25", 1), Err(NO_NUMBER));
        assert_eq!(wide(b"-1", 0), Ok([u64::MAX; 4]));
        assert_eq!(wide(b"18446744073709551616.5", 1), Ok([5, 10, 0, 0]));
        // 10^76 - 1, and minus that.
        let most = "9".repeat(76);
        let positive = wide(most.as_bytes(), 0).unwrap();
        assert_eq!(positive[3], 0x161b_cca7_1199_15b5);
        let negative = wide(format!("-{most}").as_bytes(), 0).unwrap();
        assert_eq!(negative[0], positive[0].wrapping_neg());
        assert!(wide("9".repeat(78).as_bytes(), 0).is_err());
    }

    #[test]
    fn nanoseconds_hold_what_fits_into_64_bits_and_nothing_else() {
        let at = |year| Timestamp {
            date: Date::new(year, 9, 21).unwrap(),
            time: Time::parse("00:12:43.145224193").unwrap(),
        };
        assert_eq!(since_1970(at(1677), Unit::Nano), Ok(i64::MIN + 1));
        assert_eq!(since_1970(at(1676), Unit::Nano), Err(OUTSIDE_NANOSECONDS));
        assert!(since_1970(at(9999), Unit::Nano).is_err() && since_1970(at(9999), Unit::Micro).is_ok());
        assert_eq!(
            since_1970(
                Timestamp {
                    date: Date::new(1969, 12, 31).unwrap(),
                    time: Time::parse("23:59:59.999999").unwrap()
                },
                Unit::Micro
            ),
            Ok(-1)
        );
    }

    #[test]
    fn a_bit_stands_for_each_value_from_the_lowest_on() {
        assert_eq!(
            bits([true, false, false, true, false, false, false, false, true].into_iter()),
            [0b1001, 1]
        );
    }
}
