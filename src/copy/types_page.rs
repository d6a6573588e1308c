//! Holds the page of types (`src/database/TYPES.md`) to the code: the page is what is rendered here from the dialects
//! and the conversions. To write it anew: `DRAY_WRITE_TYPES=1 cargo test --lib types_page`.

use std::fmt::Write;

use super::conversion::Conversion;
use crate::database::{Column, Dialect, dialect};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/database/TYPES.md");

const PRODUCTS: [(&str, &str); 5] = [
    ("postgres", "PostgreSQL"),
    ("mariadb", "MariaDB"),
    ("mysql", "MySQL"),
    ("sqlite", "SQLite"),
    ("sqlserver", "SQL Server"),
];

const BEFORE: &str = "\
# Types

<!-- Rendered by src/copy/types_page.rs, whose test compares. To write it anew:
     DRAY_WRITE_TYPES=1 cargo test --lib types_page -->

What a column becomes when dray creates the destination table, and which columns of an existing table it may be copied
into. Precision, scale, length, nullability and the primary key are kept. What holds for all of them stands in
[the engine's guarantees](../copy/README.md): a value that the destination does not hold fails its table.

Within one product a column keeps its type in the product's own words, so a type of your own (an enum, a domain, an
extension's type) has to be there. Other products get its text, as the database itself writes it.

Notes:

- SQLite's `DECIMAL_TEXT`, `UUID_TEXT` and `JSON_TEXT` are dray's names. Their affinity is TEXT, which keeps every digit
  and letter; under a name such as DECIMAL alone SQLite keeps 15 digits and turns `1.0` into 1. What has more digits is
  refused for such a column.
- MariaDB and MySQL have no type for all points in time: TIMESTAMP ends in 2038. A timestamp with a zone becomes a
  DATETIME in UTC there.
- In a primary key MariaDB and MySQL take text of 768 characters and 3072 bytes; longer keys are refused by row.
- Into an ENUM or SET of MariaDB and MySQL goes only the same ENUM or SET: the server makes `a` of `A` and the first
  member of `1`. The same holds for PostgreSQL's `name`, which cuts at 63 bytes, and its numeric with a negative scale.
- FLOAT(7,4) and DOUBLE(10,2) of MariaDB and MySQL round what they are given, and are decimals to dray.
- Before MariaDB 11 the server refuses UUIDs of no known version and variant.
- SQL Server's decimals have 38 digits: a column that declares more is refused, one without a size becomes
  `decimal(38,18)`, and what does not fit is refused by row.
- Text becomes `nvarchar` of twice its length, since a character takes up to two units there, and `nvarchar(max)` beyond
  4,000. In a primary key it has 450 units, and is compared as sources compare theirs, letter by letter. A value for a
  `char` or `varchar` of an existing table has to be made of the letters of its code page.
- SQL Server keeps seven digits of a second, the others six: a value that needs the seventh is refused, or rounded with
  `fraction=\"round\"`. Its `datetime` keeps milliseconds that end in 0, 3 and 7, its `smalldatetime` whole minutes.
- A `rowversion` is read as its eight bytes, which a new table keeps as `binary(8)`; it is not written, and neither is a
  computed column or a period of a temporal table. `sql_variant`, `vector` and the types of other assemblies are refused;
  `hierarchyid`, `geometry` and `geography` are copied between SQL Servers alone. A query can cast them.
";

#[test]
fn the_page_of_types_says_what_the_code_does() {
    let rendered = page();
    if std::env::var_os("DRAY_WRITE_TYPES").is_some() {
        fs_err::write(PAGE, &rendered).unwrap();
    }
    let written = fs_err::read_to_string(PAGE).unwrap();
    let differs = rendered.lines().zip(written.lines()).find(|(one, other)| one != other);
    assert_eq!(differs, None, "the page is old; DRAY_WRITE_TYPES=1 writes it anew");
    assert_eq!(rendered.lines().count(), written.lines().count());
}

fn page() -> String {
    let mut page = BEFORE.to_owned();
    for (name, title) in PRODUCTS {
        let source = dialect(name);
        let columns = source.listed_types();
        // MySQL's own are few, and stand beside MariaDB's.
        if name == "mysql" {
            continue;
        }
        let targets: Vec<_> = PRODUCTS.into_iter().filter(|(target, _)| *target != name).collect();
        let titles: Vec<&str> = targets.iter().map(|(_, title)| *title).collect();
        let _ = write!(
            page,
            "\n## From {title}\n\nWhat a column becomes in a table that dray creates.\n\n| {title} | {} |\n|{}\n",
            titles.join(" | "),
            "---|".repeat(titles.len() + 1)
        );
        for column in &columns {
            let made = targets
                .iter()
                .map(|(target, _)| match declare(source, column, dialect(target)) {
                    Ok(made) => format!("`{}`", made.declared),
                    Err(reason) => reason,
                });
            let cells: Vec<String> = made.collect();
            let _ = writeln!(page, "| `{}` | {} |", column.declared, cells.join(" | "));
        }
        let _ = write!(
            page,
            "\nColumns of an existing table that it may be copied into, each value looked at: one that does not fit is \
             refused by row.\n\n| {title} | {} |\n|{}\n",
            PRODUCTS.map(|(_, title)| title).join(" | "),
            "---|".repeat(PRODUCTS.len() + 1)
        );
        // Types that go the same ways share a line.
        let mut lines: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
        for column in &columns {
            let ways: Vec<String> = PRODUCTS
                .iter()
                .map(|(target, _)| ways(source, column, dialect(target)))
                .collect();
            match lines.iter_mut().find(|(known, _)| *known == ways) {
                Some((_, words)) => words.push(&column.declared),
                None => lines.push((ways, vec![&column.declared])),
            }
        }
        for (ways, words) in lines {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            let _ = writeln!(page, "| {} | {} |", words.join(", "), ways.join(" | "));
        }
    }
    page
}

/// The column that dray makes for a source's.
fn declare(source: &dyn Dialect, column: &Column, target: &dyn Dialect) -> Result<Column, String> {
    match source.unreadable(column) {
        Some(_) => Err("refused".to_owned()),
        None => super::plan::new_column(column, &column.name, target, source.name() == target.name()),
    }
}

/// The target's types that this column may be copied into.
fn ways(source: &dyn Dialect, column: &Column, target: &dyn Dialect) -> String {
    let same_product = source.name() == target.name();
    let limits = target.limits();
    let allowed: Vec<String> = target
        .listed_types()
        .into_iter()
        .filter(|listed| {
            let (from, to) = match same_product {
                true => (source.verbatim(column), target.verbatim(listed)),
                false => (column.clone(), listed.clone()),
            };
            source.unreadable(&from).is_none()
                && (same_product || !target.takes_own_alone(&to))
                && Conversion::plan(&from, &to, &limits).is_ok()
        })
        .map(|listed| short(&listed.declared))
        .collect();
    let mut distinct: Vec<String> = Vec::new();
    for words in allowed {
        if !distinct.contains(&words) {
            distinct.push(words);
        }
    }
    if distinct.is_empty() {
        return "none".to_owned();
    }
    distinct.join(", ")
}

/// A type's words without its size.
fn short(declared: &str) -> String {
    match (declared.find('('), declared.find(')')) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &declared[..start], &declared[end + 1..]),
        _ => declared.to_owned(),
    }
}
