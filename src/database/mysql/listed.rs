//! The types that users of MariaDB and MySQL meet, as the catalog tells them; for the page of types (`../TYPES.md`).

use super::{Column, types};

/// COLUMN_TYPE, and of information_schema.columns the length, the precision, the scale and the digits of a second.
const TYPES: &[(&str, [&str; 4])] = &[
    ("tinyint(1)", ["", "3", "0", ""]),
    ("tinyint(4)", ["", "3", "0", ""]),
    ("tinyint(3) unsigned", ["", "3", "0", ""]),
    ("smallint(6)", ["", "5", "0", ""]),
    ("smallint(5) unsigned", ["", "5", "0", ""]),
    ("mediumint(9)", ["", "7", "0", ""]),
    ("mediumint(8) unsigned", ["", "7", "0", ""]),
    ("int(11)", ["", "10", "0", ""]),
    ("int(10) unsigned", ["", "10", "0", ""]),
    ("bigint(20)", ["", "19", "0", ""]),
    ("bigint(20) unsigned", ["", "20", "0", ""]),
    ("year(4)", ["", "", "", ""]),
    ("bit(1)", ["", "1", "", ""]),
    ("bit(64)", ["", "64", "", ""]),
    ("decimal(12,2)", ["", "12", "2", ""]),
    ("decimal(38,10)", ["", "38", "10", ""]),
    ("decimal(65,30)", ["", "65", "30", ""]),
    ("float", ["", "12", "", ""]),
    ("double", ["", "22", "", ""]),
    ("float(7,4)", ["", "7", "4", ""]),
    ("double(10,2)", ["", "10", "2", ""]),
    ("char(10)", ["10", "", "", ""]),
    ("varchar(20)", ["20", "", "", ""]),
    ("varchar(5000)", ["5000", "", "", ""]),
    ("tinytext", ["255", "", "", ""]),
    ("text", ["65535", "", "", ""]),
    ("mediumtext", ["16777215", "", "", ""]),
    ("longtext", ["4294967295", "", "", ""]),
    ("enum('a','bc')", ["2", "", "", ""]),
    ("set('a','bc')", ["4", "", "", ""]),
    ("binary(8)", ["8", "", "", ""]),
    ("varbinary(20)", ["20", "", "", ""]),
    ("tinyblob", ["255", "", "", ""]),
    ("blob", ["65535", "", "", ""]),
    ("longblob", ["4294967295", "", "", ""]),
    ("date", ["", "", "", ""]),
    ("time", ["", "", "", "0"]),
    ("time(6)", ["", "", "", "6"]),
    ("datetime", ["", "", "", "0"]),
    ("datetime(6)", ["", "", "", "6"]),
    ("timestamp", ["", "", "", "0"]),
    ("timestamp(6)", ["", "", "", "6"]),
    ("uuid", ["", "", "", ""]),
    ("inet6", ["", "", "", ""]),
    ("point", ["", "", "", ""]),
];

/// What MySQL has instead: UUID and INET6 are MariaDB's, and its JSON is no LONGTEXT.
const JSON: (&str, [&str; 4]) = ("json", ["", "", "", ""]);

/// A column of each, as the catalog query answers.
pub(super) fn columns(mariadb: bool) -> Vec<Column> {
    let column = |(words, [length, precision, scale, digits]): &(&str, [&str; 4])| {
        let name = words.split(['(', ' ']).next().unwrap_or_default();
        let cells = ["t", "c", name, words, length, precision, scale, digits, "YES", "", ""];
        types::catalog_column(&cells.map(|cell| (!cell.is_empty()).then(|| cell.to_owned())))
    };
    let known = TYPES
        .iter()
        .filter(|(words, _)| mariadb || !matches!(*words, "uuid" | "inet6"));
    known.chain((!mariadb).then_some(&JSON)).map(column).collect()
}
