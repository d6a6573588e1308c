//! What SQL Server would change of a value without a word, or keep only in part: looked at before it is sent.
//!
//! The rest the server refuses itself. Sources: Microsoft's Transact-SQL reference, "Data types", "INSERT" and
//! "Collation and Unicode support".

use std::collections::HashSet;

use super::super::{Column, Error, LogicalType, Relation, Value, ValueCheck};
use super::{catalog, code_pages, types};
use crate::odbc::Session;

/// The code page of UTF-8 collations.
const UTF8: u32 = 65_001;

/// See [`super::super::Dialect::value_checks`].
pub(super) fn of_columns(
    session: &Session,
    target: &Relation,
    columns: &[Column],
) -> Result<Vec<(usize, ValueCheck)>, Error> {
    // The table that was made may have another code page than the one it was made after: that of its own database.
    let pages = match columns.iter().any(|column| types::has_code_page(&column.declared)) {
        true => catalog::code_pages(session, target)?,
        false => Vec::new(),
    };
    let page_of = |name: &str| pages.iter().find(|(column, _)| column == name).map(|(_, page)| *page);
    let check = |(position, column): (usize, &Column)| {
        let check = of_column(column, page_of(&column.name))?;
        Some((position, check))
    };
    Ok(columns.iter().enumerate().filter_map(check).collect())
}

/// What is looked at in the values of a column; `page` is its code page, if it has one.
fn of_column(column: &Column, page: Option<u32>) -> Option<ValueCheck> {
    let length = types::length(&column.declared);
    match (types::base(&column.declared), column.logical) {
        ("nchar" | "nvarchar", _) => units(length?),
        ("char" | "varchar" | "text", _) => match page {
            Some(UTF8) => bytes(length?),
            page => one_byte_letters(page.unwrap_or(0), length),
        },
        // 1/300 of a second, as milliseconds that end in 0, 3 and 7.
        ("datetime", _) => Some(Box::new(|value| match value {
            Value::Timestamp(value) if value.date.year < 1753 => {
                Err("the value is before the year 1753, with which `datetime` begins".to_owned())
            }
            Value::Timestamp(value) if !matches!(value.time.nanosecond / 1_000_000 % 10, 0 | 3 | 7) => {
                Err("the value lies between two of the 1/300 s of `datetime`, which would round it".to_owned())
            }
            _ => Ok(()),
        })),
        ("smalldatetime", _) => Some(Box::new(|value| match value {
            Value::Timestamp(value) if value.time.second != 0 => {
                Err("the value has seconds, which `smalldatetime` would round to the minute".to_owned())
            }
            _ => Ok(()),
        })),
        ("datetimeoffset", _) => Some(Box::new(|value| match value {
            Value::Instant(value) if value.offset_minutes.abs() > 14 * 60 => {
                Err("the value's offset is more than the 14 hours of `datetimeoffset`".to_owned())
            }
            _ => Ok(()),
        })),
        ("real", _) => Some(normal(f64::from(f32::MIN_POSITIVE))),
        (_, LogicalType::Float { .. }) => Some(normal(f64::MIN_POSITIVE)),
        _ => None,
    }
}

/// Floats whose size is that of the smallest normal one at least: the server's types end there.
fn normal(smallest: f64) -> ValueCheck {
    Box::new(move |value| match value {
        Value::F64(value) if value != 0.0 && value.abs() < smallest => Err(format!(
            "the value is smaller than {smallest:e}, the smallest that the target holds"
        )),
        _ => Ok(()),
    })
}

/// Text of so many units of UTF-16 at most. The server would refuse it, but for spaces at its end, which it cuts.
fn units(most: usize) -> Option<ValueCheck> {
    Some(Box::new(move |value| match value {
        // No unit takes less than a byte of UTF-8.
        Value::Text(text) if text.len() > most => match text.encode_utf16().count() {
            units if units > most => Err(format!(
                "the text has {units} units of UTF-16, the target column holds {most}"
            )),
            _ => Ok(()),
        },
        _ => Ok(()),
    }))
}

/// Text of so many bytes of UTF-8 at most.
fn bytes(most: usize) -> Option<ValueCheck> {
    Some(Box::new(move |value| match value {
        Value::Text(text) if text.len() > most => Err(format!(
            "the text has {} bytes of UTF-8, the target column holds {most}",
            text.len()
        )),
        _ => Ok(()),
    }))
}

/// Text of the letters of a code page, each of which takes a byte.
fn one_byte_letters(page: u32, most: Option<usize>) -> Option<ValueCheck> {
    let known: Option<HashSet<char>> = code_pages::characters(page).map(|letters| letters.chars().collect());
    Some(Box::new(move |value| {
        let Value::Text(text) = value else { return Ok(()) };
        if !text.is_ascii() {
            let is_known =
                |letter: char| letter.is_ascii() || known.as_ref().is_some_and(|known| known.contains(&letter));
            if !text.chars().all(is_known) {
                return Err(match known {
                    Some(_) => format!(
                        "the text has a letter that code page {page} of the target column lacks; nvarchar has them all"
                    ),
                    None => format!(
                        "the text has a letter beyond ASCII, of which dray does not know whether code page {page} of the \
                         target column has it; nvarchar has them all"
                    ),
                });
            }
        }
        let letters = text.chars().count();
        match most {
            Some(most) if letters > most => Err(format!(
                "the text has {letters} letters, the target column holds {most}"
            )),
            _ => Ok(()),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::temporal::{OffsetTimestamp, Timestamp};

    fn check(declared: &str, page: Option<u32>, value: Value<'_>) -> Result<(), String> {
        let name = types::base(declared);
        let column = Column {
            name: "c".to_owned(),
            logical: types::logical_type(name, types::Size::default()),
            declared: declared.to_owned(),
            nullable: true,
            key_position: None,
            generated: false,
            from_catalog: true,
        };
        of_column(&column, page).map_or(Ok(()), |check| check(value))
    }

    fn refused(result: Result<(), String>, words: &str) {
        let reason = result.unwrap_err();
        assert!(reason.contains(words) && !reason.contains("geheim"), "{reason}");
    }

    #[test]
    fn nvarchar_counts_units_and_a_space_at_the_end_too() {
        assert_eq!(check("nvarchar(4)", None, Value::Text("😀😀")), Ok(()));
        refused(check("nvarchar(3)", None, Value::Text("😀😀")), "4 units");
        refused(check("nvarchar(3)", None, Value::Text("abc ")), "4 units");
        assert_eq!(check("nvarchar(max)", None, Value::Text("geheim")), Ok(()));
    }

    #[test]
    fn varchar_takes_the_letters_of_its_code_page_alone() {
        assert_eq!(check("varchar(5)", Some(1252), Value::Text("é€")), Ok(()));
        refused(
            check("varchar(20)", Some(1252), Value::Text("geheimΩ")),
            "code page 1252",
        );
        refused(
            check("varchar(20)", Some(932), Value::Text("geheim日")),
            "code page 932",
        );
        refused(
            check("varchar(2) COLLATE Greek_CI_AS", Some(1253), Value::Text("ΩΩΩ")),
            "3 letters",
        );
        refused(check("varchar(3)", Some(65_001), Value::Text("éé")), "4 bytes");
        assert_eq!(check("varchar(max)", Some(65_001), Value::Text("日本")), Ok(()));
        assert_eq!(check("text", None, Value::Text("ascii")), Ok(()));
    }

    #[test]
    fn the_older_types_of_time_take_what_they_keep() {
        let timestamp = |text: &str| Value::Timestamp(Timestamp::parse(text).unwrap());
        assert_eq!(check("datetime", None, timestamp("2024-01-01 00:00:00.997")), Ok(()));
        refused(check("datetime", None, timestamp("2024-01-01 00:00:00.001")), "1/300");
        refused(check("datetime", None, timestamp("1752-12-31 00:00:00")), "1753");
        refused(
            check("smalldatetime", None, timestamp("2024-01-01 00:00:01")),
            "seconds",
        );
        let far = OffsetTimestamp {
            local: Timestamp::parse("2024-01-01").unwrap(),
            offset_minutes: 15 * 60,
        };
        refused(check("datetimeoffset(7)", None, Value::Instant(far)), "14 hours");
    }

    #[test]
    fn floats_smaller_than_normal_ones_are_refused() {
        assert_eq!(check("float", None, Value::F64(-f64::MIN_POSITIVE)), Ok(()));
        refused(check("float", None, Value::F64(5e-324)), "smallest");
        refused(
            check("real", None, Value::F64(f64::from(f32::MIN_POSITIVE / 2.0))),
            "smallest",
        );
        assert_eq!(check("real", None, Value::F64(0.0)), Ok(()));
    }
}
