//! A SQLite table in ranges: by the numbers of its rows, or by its primary key where it has no such numbers.

use super::{
    super::{
        Class, Column, Dialect, Error, Relation,
        ranges::{Comparison, Indexed, KeyPart, Ranges, key_of},
    },
    Session, Sqlite,
};

/// The names that a row's number goes by, where no column has them.
const ROW_NUMBER: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// The ranges of a table, or why there are none.
pub(super) fn ranges(
    dialect: &Sqlite,
    session: &Session,
    relation: &Relation,
    columns: &[Column],
    wanted: usize,
) -> Result<Result<Ranges, String>, Error> {
    let schema = relation.schema.as_deref().unwrap_or("main");
    let is_table = format!(
        "SELECT 1 FROM {}.sqlite_master WHERE type = 'table' AND lower(name) = lower(?) AND sql NOT LIKE 'CREATE VIRTUAL%'",
        dialect.quote(schema)
    );
    if session.text_rows(&is_table, &[&relation.name])?.is_empty() {
        return Ok(Err("it is no table of the file's own".to_owned()));
    }
    let table = format!("{}.{}", dialect.quote(schema), dialect.quote(&relation.name));
    let by = |key: &[KeyPart<'_>]| {
        let indexed = Indexed {
            dialect,
            table: &table,
            key,
            comparison: Comparison::Rows,
            rows: None,
        };
        indexed.ranges(wanted, &mut |sql| Ok(session.text_rows(sql, &[])?))
    };
    let is_free = |name: &&str| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    let Some(name) = ROW_NUMBER.iter().find(|name| is_free(name)) else {
        return Ok(Err("its columns have all the names of a row's number".to_owned()));
    };
    let number = KeyPart {
        name: (*name).to_owned(),
        text: (*name).to_owned(),
        spell: Box::new(str::to_owned),
        is_shown: true,
        is_number: true,
    };
    match by(&[number]) {
        // A table that is declared WITHOUT ROWID.
        Err(error) if is_not_found(dialect, &error) => {}
        parted => return parted,
    }
    // A value has a type of its own, and may be text in a column of numbers. NULL is not among them in such a table.
    let part = |column: &&Column| KeyPart {
        name: dialect.quote(&column.name),
        text: format!("quote({})", dialect.quote(&column.name)),
        spell: Box::new(str::to_owned),
        is_shown: false,
        is_number: false,
    };
    by(&key_of(columns).iter().map(part).collect::<Vec<_>>())
}

fn is_not_found(dialect: &Sqlite, error: &Error) -> bool {
    let class = error.diagnostic().map(|diagnostic| dialect.classify(diagnostic));
    class == Some(Class::NotFound)
}
