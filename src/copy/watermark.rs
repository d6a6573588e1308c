//! Which rows an incremental copy reads: those whose watermark is greater than what the journal has noted, up to the
//! greatest one that the source has when the copy begins.
//!
//! The mark is a text that the source's product wrote and reads again. It goes into SQL as a literal of it and nothing else.

use super::error::{Phase, Place, Side, TableError};
use crate::database::{Column, Connection, LogicalType, Source};

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
        let refused = |message: String| TableError::refused(PLACE, "copy.watermark", message);
        let failed = |error| TableError::database(PLACE, error, Some(source.dialect));
        let name = source.dialect.quote(&column.name);
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
        let from = what.after_from(|relation| source.dialect.quote_relation(relation));
        let rows = source
            .session
            .text_rows(&format!("SELECT {greatest} FROM {from}"), &[])
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
        let what = window.map_or_else(|| what.clone(), |window| narrowed(what, &window));
        Ok(Window { what, mark: found })
    }
}

/// The column that is to be the watermark, among the source's.
///
/// # Errors
/// There is none of this name.
pub(super) fn column_of<'a>(columns: &'a [Column], watermark: &str) -> Result<&'a Column, Box<TableError>> {
    let lower = watermark.to_lowercase();
    let exact = columns.iter().find(|column| column.name == watermark);
    let found = exact.or_else(|| columns.iter().find(|column| column.name.to_lowercase() == lower));
    found.ok_or_else(|| {
        let message = format!("the source has no column `{watermark}` for the watermark");
        TableError::refused(PLACE, "copy.watermark", message)
    })
}

/// The same, less what the condition leaves out. A line of its own: the user's own text may end in a comment.
pub(super) fn narrowed(what: &Source, condition: &str) -> Source {
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
        Source::Query(sql) => Source::Query(format!("SELECT * FROM ({sql}\n) AS dray_window WHERE {condition}")),
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
}
