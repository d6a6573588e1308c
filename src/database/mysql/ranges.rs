//! A table of MariaDB or MySQL in ranges of its primary key, which its rows are stored by.

use super::{
    super::{
        Column, Dialect, Error, LogicalType, Relation,
        ranges::{Comparison, Indexed, KeyPart, Ranges, Spell, is_shown, key_of},
    },
    MySql, Session,
};

/// The ranges of a table, or why there are none.
pub(super) fn ranges(
    dialect: &MySql,
    session: &Session,
    relation: &Relation,
    columns: &[Column],
    estimated_rows: Option<u64>,
    wanted: usize,
) -> Result<Result<Ranges, String>, Error> {
    let mut key = Vec::new();
    for column in key_of(columns) {
        // Compared as text and stored by number, so that no index would serve.
        let declared = column.declared.to_ascii_lowercase();
        if declared.starts_with("enum") || declared.starts_with("set") {
            return Ok(Err(format!(
                "column `{}` of its key is `{}`",
                column.name, column.declared
            )));
        }
        key.push(part(dialect, column, declared.starts_with("bit")));
    }
    let table = dialect.quote_relation(relation);
    let indexed = Indexed {
        dialect,
        table: &table,
        key: &key,
        // Of rows that are compared as such, no index is used.
        comparison: Comparison::Columns,
        rows: estimated_rows,
    };
    indexed.ranges(wanted, &mut |sql| Ok(session.text_rows(sql, &[])?))
}

fn part<'a>(dialect: &'a MySql, column: &Column, is_bit: bool) -> KeyPart<'a> {
    let name = dialect.quote(&column.name);
    let bare: Spell<'_> = Box::new(str::to_owned);
    let (text, spell): (String, Spell<'_>) = match column.logical {
        _ if is_bit => (format!("CAST({name} + 0 AS CHAR)"), bare),
        LogicalType::Boolean
        | LogicalType::Integer { .. }
        | LogicalType::Decimal { .. }
        | LogicalType::Float { .. } => (format!("CAST({name} AS CHAR)"), bare),
        LogicalType::Bytes { .. } => (format!("HEX({name})"), Box::new(|text| format!("x'{text}'"))),
        LogicalType::Text { .. } => (name.clone(), Box::new(|text| dialect.literal(text))),
        _ => (format!("CAST({name} AS CHAR)"), Box::new(|text| dialect.literal(text))),
    };
    KeyPart {
        name,
        text,
        spell,
        is_shown: is_shown(column),
        is_number: matches!(column.logical, LogicalType::Integer { .. }) && !is_bit,
    }
}
