//! Values on their way into a bulk copy: from a batch's layouts into the forms of `bcp_types`. What has no exact one is
//! refused; nothing is rounded or cut.

use super::{
    super::{
        batch::Values,
        temporal::{Date, Time, Timestamp},
    },
    bcp_types::Form,
    code_pages::{CodePage, Misfit},
};

/// Most bytes of a piece of a long value, and of the UTF-8 that one is made of.
const PIECE_BYTES: usize = 64 << 10;

/// Days from 1900-01-01, where `datetime` and `smalldatetime` count from, to 1970-01-01.
const DAYS_1900: i64 = 25_567;

/// A column's form, and its code page where that matters.
pub(super) struct Cells {
    /// The form.
    pub form: Form,
    /// For [`Form::CodePage`].
    pub page: Option<CodePage>,
    /// Whether a shorter value is filled up, with spaces or zero bytes, as the server keeps it.
    pub filled: bool,
}

impl Cells {
    /// Writes the value at `row`, which is not NULL, at the start of `out`, and says how many bytes it has.
    ///
    /// # Errors
    /// Why it is refused; never the value.
    pub(super) fn write(&self, values: &Values, row: usize, out: &mut [u8]) -> Result<usize, String> {
        let length = self.write_unfilled(values, row, out)?;
        if !self.filled {
            return Ok(length);
        }
        let filling: &[u8] = match self.form {
            Form::Utf16 => &[b' ', 0],
            Form::CodePage => b" ",
            _ => &[0],
        };
        out[length..]
            .chunks_exact_mut(filling.len())
            .for_each(|place| place.copy_from_slice(filling));
        Ok(out.len())
    }

    fn write_unfilled(&self, values: &Values, row: usize, out: &mut [u8]) -> Result<usize, String> {
        match (self.form, values) {
            (Form::Bit, Values::I64(values)) => put(out, &[u8::from(values[row] != 0)]),
            (Form::U8, Values::I64(values)) => put(out, &integer::<u8>(values[row])?.to_ne_bytes()),
            (Form::I16, Values::I64(values)) => put(out, &integer::<i16>(values[row])?.to_ne_bytes()),
            (Form::I32, Values::I64(values)) => put(out, &integer::<i32>(values[row])?.to_ne_bytes()),
            (Form::I64, Values::I64(values)) => put(out, &values[row].to_ne_bytes()),
            (Form::F32, Values::F64(values)) => {
                normal(values[row], f32::MIN_POSITIVE.into())?;
                put(out, &(values[row] as f32).to_ne_bytes())
            }
            (Form::F64, Values::F64(values)) => {
                normal(values[row], f64::MIN_POSITIVE)?;
                put(out, &values[row].to_ne_bytes())
            }
            (Form::Numeric { precision, scale }, Values::Decimal(values)) => {
                let (negative, number) = scaled(values.get(row), scale)?;
                if 10_u128.checked_pow(precision.into()).is_some_and(|end| number >= end) {
                    return Err(format!("the value has more than the column's {precision} digits"));
                }
                put(out, &[precision, scale, u8::from(!negative)])?;
                put(&mut out[3..], &number.to_le_bytes())?;
                Ok(3 + 16)
            }
            (Form::Money, Values::Decimal(values)) => {
                let number: i64 = money(values.get(row))?;
                put(out, &((number >> 32) as i32).to_ne_bytes())?;
                put(&mut out[4..], &(number as u32).to_ne_bytes())?;
                Ok(8)
            }
            (Form::SmallMoney, Values::Decimal(values)) => put(out, &money::<i32>(values.get(row))?.to_ne_bytes()),
            (Form::Date, Values::Date(values)) => {
                put_date(out, day(values[row])?);
                Ok(6)
            }
            (Form::Time, Values::Time(values)) => {
                let time = values[row];
                if !time.is_of_day() {
                    return Err("the value is a span, and no time of a day".to_owned());
                }
                put_time(out, time);
                // After two bytes that keep the fraction at a multiple of four.
                put(&mut out[8..], &time.nanosecond.to_ne_bytes())?;
                Ok(12)
            }
            (Form::Timestamp, Values::Timestamp(values)) => put_timestamp(out, values[row]),
            (Form::Offset, Values::Instant(values)) => {
                let value = values[row];
                put_timestamp(out, value.local)?;
                if value.utc().is_none_or(|utc| day(utc.date).is_err()) || !(-840..=840).contains(&value.offset_minutes)
                {
                    return Err(
                        "the instant is not one of the years 1 to 9999 in UTC, or more than 14 hours from it"
                            .to_owned(),
                    );
                }
                put(&mut out[16..], &(value.offset_minutes / 60).to_ne_bytes())?;
                put(&mut out[18..], &(value.offset_minutes % 60).to_ne_bytes())?;
                Ok(20)
            }
            (Form::DateTime, Values::Timestamp(values)) => {
                let (days, ticks) = ticks(values[row])?;
                put(out, &days.to_ne_bytes())?;
                put(&mut out[4..], &ticks.to_ne_bytes())?;
                Ok(8)
            }
            (Form::SmallDateTime, Values::Timestamp(values)) => {
                let (days, minutes) = minutes(values[row])?;
                put(out, &days.to_ne_bytes())?;
                put(&mut out[2..], &minutes.to_ne_bytes())?;
                Ok(4)
            }
            (Form::Guid, Values::Text(values)) => match uuid::Uuid::try_parse_ascii(values.get(row)) {
                Ok(value) => put(out, &value.to_bytes_le()),
                Err(_) => Err("the value is no UUID".to_owned()),
            },
            (Form::Utf16, Values::Text(values)) => {
                let units = || text(values.get(row)).encode_utf16().count();
                utf16(values.get(row), out).ok_or_else(|| {
                    let most = out.len() / 2;
                    format!(
                        "the text has {} units of UTF-16, the target column holds {most}",
                        units()
                    )
                })
            }
            (Form::CodePage, Values::Text(values)) => {
                let text = values.get(row);
                self.page()
                    .encode(text, out)
                    .map_err(|misfit| self.misfit(misfit, out.len()))
            }
            (Form::Bytes, Values::Bytes(values)) => put(out, values.get(row)).map_err(|_| too_long(out.len(), "bytes")),
            (form, _) => Err(format!("the value does not take the form {form:?}")),
        }
    }

    /// Hands the value at `row` to `send` in pieces, none of them empty; `scratch` is for what has to be turned into
    /// another encoding.
    ///
    /// # Errors
    /// Why the value is refused, or what `send` says.
    pub(super) fn pieces<E>(
        &self,
        values: &Values,
        row: usize,
        scratch: &mut Vec<u8>,
        mut send: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, String> {
        let mut rest = long(values, row);
        let as_it_is = matches!((self.form, &self.page), (Form::Bytes, _) | (_, Some(CodePage::Utf8)));
        while !rest.is_empty() {
            let mut end = PIECE_BYTES.min(rest.len());
            if as_it_is {
                // A copy: the driver reads it even if nobody keeps the batch any more.
                scratch.clear();
                scratch.extend_from_slice(&rest[..end]);
                rest = &rest[end..];
                if let Err(error) = send(scratch) {
                    return Ok(Err(error));
                }
                continue;
            }
            // Not in the middle of a character.
            while end < rest.len() && rest[end] & 0xC0 == 0x80 {
                end -= 1;
            }
            let (piece, after) = rest.split_at(end);
            rest = after;
            scratch.resize(2 * PIECE_BYTES, 0);
            let length = match self.form {
                Form::Utf16 => utf16(piece, scratch).unwrap_or_default(),
                _ => self
                    .page()
                    .encode(piece, scratch)
                    .map_err(|misfit| self.misfit(misfit, scratch.len()))?,
            };
            if let Err(error) = send(&scratch[..length]) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    fn page(&self) -> &CodePage {
        self.page.as_ref().unwrap_or(&CodePage::Utf8)
    }

    fn misfit(&self, misfit: Misfit, bytes_max: usize) -> String {
        match misfit {
            Misfit::TooLong => too_long(bytes_max, "bytes"),
            Misfit::NotInCodePage => {
                "the text has a letter that the code page of the target column lacks; nvarchar has them all".to_owned()
            }
        }
    }
}

fn too_long(most: usize, unit: &str) -> String {
    format!("the value is longer than the column's {most} {unit}")
}

/// A value of varying length; empty for the layouts that have none.
fn long(values: &Values, row: usize) -> &[u8] {
    match values {
        Values::Text(values) | Values::Bytes(values) | Values::Decimal(values) => values.get(row),
        _ => &[],
    }
}

/// Text of a batch, or of a piece of it that ends with a character.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn put(out: &mut [u8], bytes: &[u8]) -> Result<usize, String> {
    match out.get_mut(..bytes.len()) {
        Some(place) => {
            place.copy_from_slice(bytes);
            Ok(bytes.len())
        }
        None => Err(too_long(out.len(), "bytes")),
    }
}

fn integer<T: TryFrom<i64>>(value: i64) -> Result<T, String> {
    T::try_from(value).map_err(|_| "the value is outside of what the column holds".to_owned())
}

/// The server's floats end with the smallest normal one.
fn normal(value: f64, smallest: f64) -> Result<(), String> {
    match value != 0.0 && value.abs() < smallest {
        true => Err(format!(
            "the value is smaller than {smallest:e}, the smallest that the target holds"
        )),
        false => Ok(()),
    }
}

/// UTF-8 as UTF-16, and how many bytes it has; `None` if there is no room.
fn utf16(utf8: &[u8], out: &mut [u8]) -> Option<usize> {
    if utf8.is_ascii() {
        let out = out.get_mut(..2 * utf8.len())?;
        for (pair, byte) in out.chunks_exact_mut(2).zip(utf8) {
            pair.copy_from_slice(&u16::from(*byte).to_ne_bytes());
        }
        return Some(2 * utf8.len());
    }
    let mut length = 0;
    for unit in text(utf8).encode_utf16() {
        out.get_mut(length..length + 2)?.copy_from_slice(&unit.to_ne_bytes());
        length += 2;
    }
    Some(length)
}

/// Whether digits are negative, and the number that they are with `scale` digits after the point made whole.
fn scaled(digits: &[u8], scale: u8) -> Result<(bool, u128), String> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let too_many = || "the value has more digits than a decimal of SQL Server".to_owned();
    let mut number = 0_u128;
    let mut after_point = None;
    for byte in digits {
        match (byte, after_point) {
            (b'.', None) => after_point = Some(0),
            (b'0', Some(places)) if places >= scale => {}
            (b'1'..=b'9', Some(places)) if places >= scale => {
                return Err(format!(
                    "the value has more than the column's {scale} digits after the point"
                ));
            }
            (b'0'..=b'9', _) => {
                let digit = u128::from(byte - b'0');
                number = number
                    .checked_mul(10)
                    .and_then(|number| number.checked_add(digit))
                    .ok_or_else(too_many)?;
                after_point = after_point.map(|places| places + 1);
            }
            _ => return Err("the value is no decimal number".to_owned()),
        }
    }
    let missing = scale - after_point.unwrap_or(0);
    let number = 10_u128
        .checked_pow(missing.into())
        .and_then(|power| number.checked_mul(power));
    // Minus zero is a zero.
    number
        .map(|number| (negative && number != 0, number))
        .ok_or_else(too_many)
}

/// Ten-thousandths.
fn money<T: TryFrom<i128>>(digits: &[u8]) -> Result<T, String> {
    let (negative, number) = scaled(digits, 4)?;
    let outside = || "the value is outside of what the column holds".to_owned();
    let number = i128::try_from(number).map_err(|_| outside())?;
    T::try_from(if negative { -number } else { number }).map_err(|_| outside())
}

fn day(date: Date) -> Result<Date, String> {
    match date.is_day() && (1..=9999).contains(&date.year) {
        true => Ok(date),
        false => Err("the value is no day of the years 1 to 9999".to_owned()),
    }
}

fn put_date(out: &mut [u8], date: Date) {
    let parts = [
        date.year.to_ne_bytes(),
        date.month.to_ne_bytes(),
        date.day.to_ne_bytes(),
    ];
    out[..6].copy_from_slice(parts.as_flattened());
}

fn put_time(out: &mut [u8], time: Time) {
    let parts = [
        time.hour.to_ne_bytes(),
        time.minute.to_ne_bytes(),
        time.second.to_ne_bytes(),
    ];
    out[..6].copy_from_slice(parts.as_flattened());
}

fn put_timestamp(out: &mut [u8], value: Timestamp) -> Result<usize, String> {
    put_date(out, day(value.date)?);
    put_time(&mut out[6..], value.time);
    put(&mut out[12..], &value.time.nanosecond.to_ne_bytes())?;
    Ok(16)
}

/// Days since 1900-01-01 and ticks of 1/300 s.
fn ticks(value: Timestamp) -> Result<(i32, u32), String> {
    let Timestamp { date, time } = value;
    if !(1753..=9999).contains(&day(date)?.year) {
        return Err("the value is before the year 1753, with which `datetime` begins".to_owned());
    }
    let millisecond = time.nanosecond / 1_000_000;
    let tick = (millisecond * 3 + 5) / 10;
    if time.nanosecond % 1_000_000 != 0 || (tick * 10 + 1) / 3 != millisecond {
        return Err("the value lies between two of the 1/300 s of `datetime`, which would round it".to_owned());
    }
    let seconds = (u32::from(time.hour) * 60 + u32::from(time.minute)) * 60 + u32::from(time.second);
    Ok(((date.days() + DAYS_1900) as i32, seconds * 300 + tick))
}

/// Days since 1900-01-01 and minutes.
fn minutes(value: Timestamp) -> Result<(u16, u16), String> {
    let Timestamp { date, time } = value;
    let days = u16::try_from(day(date)?.days() + DAYS_1900);
    let days =
        days.map_err(|_| "the value is not between 1900-01-01 and 2079-06-06, as `smalldatetime` asks for".to_owned())?;
    match (time.second, time.nanosecond) {
        (0, 0) => Ok((days, time.hour * 60 + time.minute)),
        _ => Err("the value has seconds, which `smalldatetime` would round to the minute".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{ColumnData, Layout, Value};

    fn cells(form: Form, page: Option<CodePage>) -> Cells {
        Cells {
            form,
            page,
            filled: false,
        }
    }

    fn written(form: Form, page: Option<CodePage>, layout: Layout, value: Value<'_>) -> Result<Vec<u8>, String> {
        let mut column = ColumnData::new(layout);
        column.push(value);
        let mut out = [0; 40];
        let length = cells(form, page).write(&column.values, 0, &mut out)?;
        Ok(out[..length].to_vec())
    }

    fn timestamp(text: &str) -> Value<'static> {
        Value::Timestamp(Timestamp::parse(text).unwrap())
    }

    #[test]
    fn a_decimal_goes_with_its_columns_scale_or_not_at_all() {
        let of = |text: &str| scaled(text.as_bytes(), 2);
        assert_eq!(of("-12.5"), Ok((true, 1250)));
        assert_eq!(of("12.5000"), Ok((false, 1250)));
        assert_eq!(of("-0.00"), Ok((false, 0)));
        assert_eq!(of(".07"), Ok((false, 7)));
        assert!(of("12.345").is_err() && of("NaN").is_err() && of("1.2.3").is_err());
        let digits = "9".repeat(38);
        assert_eq!(scaled(digits.as_bytes(), 0), Ok((false, 10_u128.pow(38) - 1)));
        let form = Form::Numeric { precision: 5, scale: 2 };
        let numeric = |text| written(form, None, Layout::Decimal, Value::Decimal(text));
        assert_eq!(numeric("-999.99").unwrap()[..5], [5, 2, 0, 0x9F, 0x86]);
        assert!(numeric("1000").is_err());
    }

    #[test]
    fn money_counts_ten_thousandths() {
        let money = |form, text| written(form, None, Layout::Decimal, Value::Decimal(text));
        assert_eq!(money(Form::Money, "429496.7298"), Ok(vec![1, 0, 0, 0, 2, 0, 0, 0]));
        assert_eq!(money(Form::Money, "-0.0001"), Ok(vec![0xFF; 8]));
        assert_eq!(money(Form::SmallMoney, "-0.0099"), Ok((-99_i32).to_ne_bytes().to_vec()));
        assert!(money(Form::SmallMoney, "214748.3648").is_err());
        assert!(money(Form::Money, "0.00001").is_err());
    }

    #[test]
    fn a_datetime_keeps_what_it_shows_and_refuses_the_rest() {
        for tick in 0..300_u32 {
            // As the server shows them.
            let millisecond = (tick * 10 + 1) / 3;
            let text = format!("1900-01-01 00:00:00.{millisecond:03}");
            assert_eq!(ticks(Timestamp::parse(&text).unwrap()), Ok((0, tick)), "{text}");
        }
        let of = |text: &str| ticks(Timestamp::parse(text).unwrap());
        assert_eq!(of("1899-12-31 00:00:01"), Ok((-1, 300)));
        assert_eq!(of("9999-12-31 23:59:59.997"), Ok((2_958_463, 25_919_999)));
        assert!(of("2024-01-01 00:00:00.001").is_err() && of("2024-01-01 00:00:00.0033").is_err());
        assert!(of("1752-12-31").is_err());
        let small = |text: &str| minutes(Timestamp::parse(text).unwrap());
        assert_eq!(small("2079-06-06 23:59"), Ok((65_535, 1_439)));
        assert!(small("2079-06-07").is_err() && small("1899-12-31").is_err() && small("2024-01-01 00:00:01").is_err());
    }

    #[test]
    fn times_take_the_places_that_the_drivers_structures_have() {
        let of = |form, text| written(form, None, Layout::Timestamp, timestamp(text)).unwrap();
        let bytes = of(Form::Timestamp, "2024-02-29 23:59:58.1234567");
        assert_eq!(bytes[..12], [0xE8, 0x07, 2, 0, 29, 0, 23, 0, 59, 0, 58, 0]);
        assert_eq!(bytes[12..], 123_456_700_u32.to_ne_bytes());
        let instant = crate::database::temporal::OffsetTimestamp::parse("2024-02-29 23:59:58-05:30").unwrap();
        let bytes = written(Form::Offset, None, Layout::Instant, Value::Instant(instant)).unwrap();
        assert_eq!((bytes.len(), &bytes[16..]), (20, [0xFB, 0xFF, 0xE2, 0xFF].as_slice()));
        let early = crate::database::temporal::OffsetTimestamp::parse("0001-01-01 00:00:00+01:00").unwrap();
        assert!(written(Form::Offset, None, Layout::Instant, Value::Instant(early)).is_err());
        let time = Time::parse("23:59:58.5").unwrap();
        let bytes = written(Form::Time, None, Layout::Time, Value::Time(time)).unwrap();
        assert_eq!(
            (bytes.len(), &bytes[8..]),
            (12, 500_000_000_u32.to_ne_bytes().as_slice())
        );
    }

    #[test]
    fn text_that_does_not_fit_is_refused_and_not_cut() {
        let mut column = ColumnData::new(Layout::Text);
        for text in ["ab", "é😀", "abc", "é😀a", ""] {
            column.push(Value::Text(text));
        }
        let utf16 = cells(Form::Utf16, None);
        let mut out = [0; 6];
        let lengths: Vec<_> = (0..5)
            .map(|row| utf16.write(&column.values, row, &mut out).ok())
            .collect();
        assert_eq!(lengths, [Some(4), Some(6), Some(6), None, Some(0)]);
        let uuid = written(
            Form::Guid,
            None,
            Layout::Text,
            Value::Text("00112233-4455-6677-8899-aabbccddeeff"),
        );
        assert_eq!(uuid.unwrap()[..8], [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66]);
    }

    #[test]
    fn a_fixed_length_is_filled_up_as_the_server_keeps_it() {
        let mut column = ColumnData::new(Layout::Text);
        column.push(Value::Text("é"));
        let filled = |form, page| {
            let mut out = [9; 4];
            let cells = Cells {
                form,
                page,
                filled: true,
            };
            assert_eq!(cells.write(&column.values, 0, &mut out), Ok(4));
            out
        };
        assert_eq!(filled(Form::CodePage, CodePage::of(1252)), [0xE9, 0x20, 0x20, 0x20]);
        assert_eq!(filled(Form::Utf16, None), [0xE9, 0, 0x20, 0]);
    }

    #[test]
    fn a_long_text_goes_in_pieces_that_end_with_a_character() {
        let text = format!("x{}", "😀é".repeat(60_000));
        let mut column = ColumnData::new(Layout::Text);
        column.push(Value::Text(&text));
        let utf16 = cells(Form::Utf16, None);
        let (mut sent, mut scratch, mut pieces) = (Vec::new(), Vec::new(), 0);
        let done = utf16.pieces(&column.values, 0, &mut scratch, |piece| {
            assert!(!piece.is_empty() && piece.len() <= 2 * PIECE_BYTES);
            pieces += 1;
            sent.extend_from_slice(piece);
            Ok::<(), ()>(())
        });
        assert_eq!(done, Ok(Ok(())));
        let units: Vec<u16> = sent
            .chunks_exact(2)
            .map(|pair| u16::from_ne_bytes([pair[0], pair[1]]))
            .collect();
        assert_eq!(String::from_utf16(&units).unwrap(), text);
        assert!(pieces > 3);
        let latin = cells(Form::CodePage, CodePage::of(1252));
        let refused = latin.pieces(&column.values, 0, &mut scratch, |_| Ok::<(), ()>(()));
        assert!(refused.is_err());
    }
}
