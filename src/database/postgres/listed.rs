//! The types that users of PostgreSQL meet, as the catalog tells them; for the page of types (`../TYPES.md`).

use super::{Column, catalog_column};

/// A type's words, its name in pg_type, and its modifier (-1: none).
const TYPES: &[(&str, &str, i32)] = &[
    ("boolean", "bool", -1),
    ("smallint", "int2", -1),
    ("integer", "int4", -1),
    ("bigint", "int8", -1),
    ("oid", "oid", -1),
    ("numeric(12,2)", "numeric", (12 << 16 | 2) + 4),
    ("numeric(38,10)", "numeric", (38 << 16 | 10) + 4),
    ("numeric(100,40)", "numeric", (100 << 16 | 40) + 4),
    ("numeric(5,-2)", "numeric", (5 << 16 | (-2 & 0x7ff)) + 4),
    ("numeric", "numeric", -1),
    ("real", "float4", -1),
    ("double precision", "float8", -1),
    ("money", "money", -1),
    ("character(10)", "bpchar", 14),
    ("character varying(20)", "varchar", 24),
    ("character varying(5000)", "varchar", 5_004),
    ("character varying", "varchar", -1),
    ("text", "text", -1),
    ("name", "name", -1),
    ("bytea", "bytea", -1),
    ("date", "date", -1),
    ("time without time zone", "time", -1),
    ("time(3) without time zone", "time", 3),
    ("time with time zone", "timetz", -1),
    ("timestamp without time zone", "timestamp", -1),
    ("timestamp(3) without time zone", "timestamp", 3),
    ("timestamp with time zone", "timestamptz", -1),
    ("interval", "interval", -1),
    ("uuid", "uuid", -1),
    ("json", "json", -1),
    ("jsonb", "jsonb", -1),
    ("xml", "xml", -1),
    ("bit(8)", "bit", 8),
    ("bit varying(20)", "varbit", 20),
    ("inet", "inet", -1),
    ("cidr", "cidr", -1),
    ("macaddr", "macaddr", -1),
    ("integer[]", "_int4", -1),
    ("text[]", "_text", -1),
    ("int4range", "int4range", -1),
    ("tstzrange", "tstzrange", -1),
    ("point", "point", -1),
    ("tsvector", "tsvector", -1),
];

/// A column of each, as [`super::COLUMNS`] answers.
pub(super) fn columns() -> Vec<Column> {
    let column = |(words, name, modifier): &(&str, &str, i32)| {
        let cells = ["c", words, name, &modifier.to_string(), "0", "0", ""];
        catalog_column(&cells.map(|cell| (!cell.is_empty()).then(|| cell.to_owned())))
    };
    TYPES.iter().map(column).collect()
}
