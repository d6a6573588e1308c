//! The declared types that users of SQLite meet; for the page of types (`../TYPES.md`).

use super::{Column, LogicalType, declared_type};

const TYPES: &[&str] = &[
    "INTEGER",
    "INT",
    "BIGINT",
    "BOOLEAN",
    "DECIMAL(12,2)",
    "NUMERIC",
    "DECIMAL_TEXT(38,10)",
    "DECIMAL_TEXT",
    "REAL",
    "DOUBLE",
    "TEXT",
    "VARCHAR(20)",
    "CHAR(10)",
    "CLOB",
    "BLOB",
    "DATE",
    "TIME",
    "DATETIME",
    "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE",
    "UUID_TEXT",
    "JSON_TEXT",
];

/// A column of each.
pub(super) fn columns() -> Vec<Column> {
    let column = |declared: &&str| Column {
        name: "c".to_owned(),
        logical: declared_type(declared).unwrap_or(LogicalType::TEXT),
        declared: (*declared).to_owned(),
        nullable: true,
        key_position: None,
        generated: false,
        from_catalog: true,
    };
    TYPES.iter().map(column).collect()
}
