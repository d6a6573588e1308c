//! The types that users of SQL Server meet, as the catalog tells them; for the page of types (`../TYPES.md`).

use super::{Column, types};

/// A type's name, and of `sys.columns` its length in bytes (none for `(max)`), precision and scale.
const TYPES: &[(&str, [&str; 3])] = &[
    ("bit", ["1", "1", "0"]),
    ("tinyint", ["1", "3", "0"]),
    ("smallint", ["2", "5", "0"]),
    ("int", ["4", "10", "0"]),
    ("bigint", ["8", "19", "0"]),
    ("decimal", ["9", "12", "2"]),
    ("numeric", ["17", "38", "10"]),
    ("money", ["8", "19", "4"]),
    ("smallmoney", ["4", "10", "4"]),
    ("real", ["4", "24", "0"]),
    ("float", ["8", "53", "0"]),
    ("char", ["10", "0", "0"]),
    ("varchar", ["20", "0", "0"]),
    ("varchar", ["", "0", "0"]),
    ("text", ["16", "0", "0"]),
    ("nchar", ["20", "0", "0"]),
    ("nvarchar", ["40", "0", "0"]),
    ("nvarchar", ["8000", "0", "0"]),
    ("nvarchar", ["", "0", "0"]),
    ("ntext", ["16", "0", "0"]),
    ("binary", ["8", "0", "0"]),
    ("varbinary", ["20", "0", "0"]),
    ("varbinary", ["", "0", "0"]),
    ("image", ["16", "0", "0"]),
    ("rowversion", ["8", "0", "0"]),
    ("date", ["3", "10", "0"]),
    ("time", ["5", "16", "7"]),
    ("time", ["3", "8", "0"]),
    ("datetime", ["8", "23", "3"]),
    ("smalldatetime", ["4", "16", "0"]),
    ("datetime2", ["8", "27", "7"]),
    ("datetime2", ["7", "23", "3"]),
    ("datetimeoffset", ["10", "34", "7"]),
    ("uniqueidentifier", ["16", "0", "0"]),
    ("xml", ["", "0", "0"]),
    ("json", ["", "0", "0"]),
    ("sql_variant", ["8016", "0", "0"]),
    ("hierarchyid", ["892", "0", "0"]),
    ("geometry", ["", "0", "0"]),
    ("geography", ["", "0", "0"]),
    ("vector", ["20", "0", "0"]),
];

/// A column of each, as the catalog query answers.
pub(super) fn columns() -> Vec<Column> {
    let column = |(name, [bytes, precision, scale]): &(&str, [&str; 3])| {
        let cells = ["c", name, bytes, precision, scale, "1", "0", "", ""];
        types::catalog_column(&cells.map(|cell| (!cell.is_empty()).then(|| cell.to_owned())))
    };
    TYPES.iter().map(column).collect()
}
