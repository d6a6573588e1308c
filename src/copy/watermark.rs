//! Which rows an incremental copy reads: those whose watermark is greater than what the journal has noted, up to the
//! greatest one that the source has when the copy begins.
//!
//! The mark is a text that the source's product wrote and reads again. It goes into SQL as a literal of it and nothing else.

use super::error::{Phase, Place, Side, TableError};
use crate::database::{Column, Connection, Dialect, LogicalType, Source};

const PLACE: Place = Place {
    phase: Phase::Plan,
    side: Side::Source,
};

/// What is read, and the mark that it leads to.
pub(super) struct Window {
    /// What is read.
    pub what: Source,
    /// The greatest watermark; `None` if the source has none.
    pub mark: Option<String>,
}

impl Window {
    /// Looks for the greatest watermark. Without a mark everything is read, rows without a watermark too. `overlap` is how
    /// far before the mark the rows begin: seconds for dates and times, else a number.
    ///
    /// # Errors
    /// The column's values do not follow each other.
    pub fn open(
        source: &Connection,
        what: &Source,
        column: &Column,
        (mark, overlap): (Option<&str>, u64),
    ) -> Result<Window, Box<TableError>> {
        let failed = |error| TableError::database(PLACE, error, Some(source.dialect));
        let name = source.dialect.quote(&column.name);
        let versions = source.dialect.committed_row_version(&source.session, what, column);
        if let Some(committed) = versions.map_err(failed)? {
            let committed = committed.map_err(|reason| {
                let Column { name, declared, .. } = column;
                refused(format!(
                    "the column `{name}` ({declared}) is no watermark here: {reason}"
                ))
            })?;
            let condition = of_versions(&name, column, (mark, overlap), committed)?;
            return Ok(Window {
                what: narrowed(source.dialect, what, &condition),
                mark: Some(spelled(committed)),
            });
        }
        let is_number = matches!(
            column.logical,
            LogicalType::Integer { .. } | LogicalType::Decimal { .. }
        );
        let is_time = matches!(
            column.logical,
            LogicalType::Date | LogicalType::Timestamp { .. } | LogicalType::Instant { .. }
        );
        let is_text = matches!(column.logical, LogicalType::Text { .. });
        let Some(greatest) = source
            .dialect
            .greatest(&name)
            .filter(|_| is_number || is_time || is_text)
        else {
            let message = format!(
                "the column `{}` ({}) is no watermark here",
                column.name, column.declared
            );
            return Err(refused(message));
        };
        if overlap > 0 && is_text {
            return Err(refused(format!(
                "the watermark `{}` is text, which has no overlap",
                column.name
            )));
        }
        let rows = source
            .session
            .text_rows(&source.dialect.select(&greatest, what), &[])
            .map_err(|error| failed(error.into()))?;
        let found = rows.into_iter().flatten().next().flatten();
        let literal = |text: &str| match is_number {
            true if is_decimal(text) => Ok(text.to_owned()),
            true => Err(refused(
                "the mark of a number is none; remove its row from the journal".to_owned(),
            )),
            false => Ok(source.dialect.literal(text)),
        };
        let after = match mark {
            None => None,
            Some(mark) if overlap == 0 => Some(literal(mark)?),
            Some(mark) if is_number => Some(format!("({} - {overlap})", literal(mark)?)),
            Some(mark) => Some(source.dialect.earlier(&literal(mark)?, column.logical, overlap)),
        };
        let window = match (after, &found) {
            (None, None) => None,
            (None, Some(mark)) => Some(format!("({name} <= {} OR {name} IS NULL)", literal(mark)?)),
            (Some(after), None) => Some(format!("{name} > {after}")),
            (Some(after), Some(mark)) => Some(format!("{name} > {after} AND {name} <= {}", literal(mark)?)),
        };
        let what = window.map_or_else(|| what.clone(), |window| narrowed(source.dialect, what, &window));
        Ok(Window { what, mark: found })
    }
}

/// What is true of the rows whose versions are to be read: those beyond the mark, up to the last one before which every
/// transaction has ended. One that is handed out and not committed yet is greater, and read when it is.
///
/// # Errors
/// An overlap, which they do not need; a mark that the source has not come to.
fn of_versions(
    name: &str,
    column: &Column,
    (mark, overlap): (Option<&str>, u64),
    committed: u64,
) -> Result<String, Box<TableError>> {
    let Column {
        name: own, declared, ..
    } = column;
    if overlap > 0 {
        return Err(refused(format!(
            "the watermark `{own}` ({declared}) has no overlap, and needs none: rows of transactions that are still open are \
             read when those have ended"
        )));
    }
    let up_to = format!("{name} <= {}", spelled(committed));
    let Some(mark) = mark else { return Ok(up_to) };
    let Some(version) = version(mark) else {
        return Err(refused(format!(
            "the mark of `{own}` ({declared}) is no version; remove its row from the journal"
        )));
    };
    if version > committed {
        let mut error = refused(format!(
            "the last copy came to version {mark} of `{own}` ({declared}), and the source is at {}: it was taken back to an \
             earlier state, or is another database",
            spelled(committed)
        ));
        error.hint = Some("remove the mark's row from the journal, and everything is read again".to_owned());
        return Err(error);
    }
    Ok(format!("{name} > {} AND {up_to}", spelled(version)))
}

/// A version as SQL and the journal have it.
fn spelled(version: u64) -> String {
    format!("0x{version:016X}")
}

/// The version that is [`spelled`] so.
fn version(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let version = u64::from_str_radix(digits, 16).ok()?;
    (spelled(version) == text).then_some(version)
}

fn refused(message: String) -> Box<TableError> {
    TableError::refused(PLACE, "copy.watermark", message)
}

/// The column that is to be the watermark, among the source's.
///
/// # Errors
/// There is none of this name.
pub(super) fn column_of<'a>(columns: &'a [Column], watermark: &str) -> Result<&'a Column, Box<TableError>> {
    let lower = watermark.to_lowercase();
    let exact = columns.iter().find(|column| column.name == watermark);
    let found = exact.or_else(|| columns.iter().find(|column| column.name.to_lowercase() == lower));
    found.ok_or_else(|| refused(format!("the source has no column `{watermark}` for the watermark")))
}

/// The same, less what the condition leaves out. A line of its own: the user's own text may end in a comment.
pub(super) fn narrowed(dialect: &dyn Dialect, what: &Source, condition: &str) -> Source {
    match what {
        Source::Table {
            relation,
            condition: own,
        } => Source::Table {
            relation: relation.clone(),
            condition: Some(match own {
                Some(own) => format!("({own}\n) AND {condition}"),
                None => condition.to_owned(),
            }),
        },
        Source::Query(_) => Source::Query(format!("{} WHERE {condition}", dialect.select("*", what))),
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    !whole.is_empty()
        && [whole, fraction]
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_go_into_sql_without_quotes() {
        assert!(is_decimal("-12") && is_decimal("12.50"));
        for text in ["", "-", "1; DROP TABLE t", "1e5", "1.2.3", ".5"] {
            assert!(!is_decimal(text), "{text}");
        }
    }

    #[test]
    fn versions_are_read_up_to_the_last_one_that_is_committed_and_none_is_passed_over() {
        let column = Column {
            name: "rv".to_owned(),
            logical: LogicalType::BYTES,
            declared: "rowversion".to_owned(),
            nullable: false,
            key_position: None,
            generated: true,
            from_catalog: true,
        };
        let of =
            |mark: Option<&str>, overlap: u64, committed: u64| of_versions("[rv]", &column, (mark, overlap), committed);
        let [nine, ten] = ["0x0000000000000009", "0x000000000000000A"];
        assert_eq!(of(None, 0, 9).unwrap(), format!("[rv] <= {nine}"));
        assert_eq!(
            of(Some(nine), 0, 10).unwrap(),
            format!("[rv] > {nine} AND [rv] <= {ten}")
        );
        // Nothing has changed.
        assert_eq!(of(Some(ten), 0, 10).unwrap(), format!("[rv] > {ten} AND [rv] <= {ten}"));
        assert!(of(Some(ten), 0, 9).unwrap_err().message.contains("earlier state"));
        assert!(of(None, 1, 10).unwrap_err().message.contains("no overlap"));
        for mark in [
            "2026-01-01",
            "0x9",
            "0x000000000000000a",
            "0x+000000000000009",
            "0x0000000000000009 OR 1 = 1",
        ] {
            assert!(of(Some(mark), 0, 10).is_err(), "{mark}");
        }
    }
}
