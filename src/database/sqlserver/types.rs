//! Types of SQL Server, from the catalog, from a result and for a CREATE TABLE.
//!
//! A column's `declared` is the type as SQL Server spells it, such as `nvarchar(50)`, `decimal(38,10)`, `datetime2(7)`, with
//! the collation behind it where that is another one than its database's own. Lengths of `char` and `varchar` count bytes,
//! those of `nchar` and `nvarchar` units of UTF-16: what is read as characters from them are never more.

use super::super::{Column, LogicalType, Padding, generic};
use crate::odbc::ResultColumn;

/// Most digits of a decimal.
const DIGITS_MAX: u16 = 38;

/// Digits after the point where a source's decimals have no bound: the 20 before it hold every whole number of 64 bits.
const SCALE_OF_UNBOUNDED: u16 = 18;

/// Most units of an `nvarchar(n)`, and bytes of a `varbinary(n)`.
const UNITS_MAX: u32 = 4_000;
const BYTES_MAX: u32 = 8_000;

/// Most bytes of a clustered key.
const KEY_BYTES_MAX: u32 = 900;

/// How text in a key is compared: as sources compare their keys. Most databases' own collation takes `a` for `A`.
pub(super) const KEY_COLLATION: &str = " COLLATE Latin1_General_100_BIN2";

/// The type's name alone, in lower case: `nvarchar` of `nvarchar(50) COLLATE Greek_CI_AS`.
pub(super) fn base(declared: &str) -> &str {
    declared.split(['(', ' ']).next().unwrap_or_default()
}

/// The length in a type's parentheses: units of UTF-16 of `nvarchar(50)`; `None` for `(max)` and types without one.
pub(super) fn length(declared: &str) -> Option<usize> {
    let (_, rest) = declared.split_once('(')?;
    rest.split([')', ',']).next()?.parse().ok()
}

/// Whether the column is `char`, `varchar` or `text`, whose characters are those of a code page.
pub(super) fn has_code_page(declared: &str) -> bool {
    matches!(base(declared), "char" | "varchar" | "text")
}

/// What a column of the catalog or of a result is made of, beside its name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    /// Most bytes, as `sys.columns.max_length` has them; `None` for `(max)`.
    pub bytes: Option<u32>,
    /// Digits in all.
    pub precision: u16,
    /// Digits after the point, of seconds too.
    pub scale: u16,
}

/// The type as it stands in a CREATE TABLE.
pub(super) fn spelled(name: &str, size: Size) -> String {
    let length = |unit: u32| size.bytes.map_or("max".to_owned(), |bytes| (bytes / unit).to_string());
    match name {
        "char" | "varchar" | "binary" | "varbinary" => format!("{name}({})", length(1)),
        "nchar" | "nvarchar" => format!("{name}({})", length(2)),
        "decimal" | "numeric" => format!("{name}({},{})", size.precision, size.scale),
        "time" | "datetime2" | "datetimeoffset" => format!("{name}({})", size.scale),
        // `timestamp` is its older name, and no type of SQL Server is further from a timestamp.
        "timestamp" => "rowversion".to_owned(),
        _ => name.to_owned(),
    }
}

/// The type in words that all products share.
pub(super) fn logical_type(name: &str, size: Size) -> LogicalType {
    let digits = u8::try_from(size.scale).unwrap_or(7).min(7);
    let text = |unit: u32, padding: Padding| LogicalType::Text {
        length: size.bytes.map(|bytes| bytes / unit),
        padding,
    };
    match name {
        "bit" => LogicalType::Boolean,
        "tinyint" => LogicalType::Integer { bits: 8, signed: false },
        "smallint" => LogicalType::Integer { bits: 16, signed: true },
        "int" => LogicalType::Integer { bits: 32, signed: true },
        "bigint" => LogicalType::Integer { bits: 64, signed: true },
        "decimal" | "numeric" => LogicalType::decimal(size.precision, size.scale),
        "money" => LogicalType::decimal(19, 4),
        "smallmoney" => LogicalType::decimal(10, 4),
        "real" => LogicalType::Float { bits: 32 },
        "float" => LogicalType::Float { bits: 64 },
        "char" => text(1, Padding::Filled),
        "nchar" => text(2, Padding::Filled),
        "varchar" => text(1, Padding::None),
        "nvarchar" => text(2, Padding::None),
        "text" | "ntext" => LogicalType::TEXT,
        "binary" => LogicalType::Bytes {
            length: size.bytes,
            filled: true,
        },
        "timestamp" | "rowversion" => LogicalType::Bytes {
            length: Some(8),
            filled: true,
        },
        "varbinary" => LogicalType::Bytes {
            length: size.bytes,
            filled: false,
        },
        "image" => LogicalType::BYTES,
        "date" => LogicalType::Date,
        "time" => LogicalType::Time { digits, span: false },
        // Its ticks are 1/300 s, which it shows as milliseconds that end in 0, 3 and 7.
        "datetime" => LogicalType::Timestamp { digits: 3 },
        "smalldatetime" => LogicalType::Timestamp { digits: 0 },
        "datetime2" => LogicalType::Timestamp { digits },
        "datetimeoffset" => LogicalType::Instant {
            digits,
            epoch_32: false,
        },
        "uniqueidentifier" => LogicalType::Uuid,
        "json" => LogicalType::Json { normalized: true },
        _ => LogicalType::Opaque,
    }
}

/// A column from a row of the catalog query, from its second cell on.
pub(super) fn catalog_column(row: &[Option<String>]) -> Column {
    let cell = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
    // `vector` is kept as `varbinary`, and only its own name tells (SQL Server 2025).
    let name = match cell(9) {
        "vector" => "vector".to_owned(),
        _ => cell(1).to_lowercase(),
    };
    let size = Size {
        // -1 for (max).
        bytes: cell(2).parse().ok(),
        precision: cell(3).parse().unwrap_or(0),
        scale: cell(4).parse().unwrap_or(0),
    };
    let mut declared = spelled(&name, size);
    if let (collation, true) = (
        cell(8),
        matches!(
            name.as_str(),
            "char" | "varchar" | "text" | "nchar" | "nvarchar" | "ntext"
        ),
    ) && !collation.is_empty()
    {
        declared = format!("{declared} COLLATE {collation}");
    }
    Column {
        name: cell(0).to_owned(),
        logical: logical_type(&name, size),
        generated: cell(6) == "1" || declared == "rowversion",
        nullable: cell(5) == "1",
        key_position: cell(7).parse().ok().filter(|position| *position > 0),
        from_catalog: true,
        declared,
    }
}

/// A result's column, from what the driver says of it.
pub(super) fn result_column(column: ResultColumn) -> Column {
    // `int identity`, `uniqueidentifier not null` and the like.
    let name = base(&column.type_name).to_owned();
    let unit = if matches!(name.as_str(), "nchar" | "nvarchar") {
        2
    } else {
        1
    };
    let size = Size {
        bytes: u32::try_from(column.size)
            .ok()
            .filter(|size| (1..=BYTES_MAX / unit).contains(size))
            .map(|size| size * unit),
        precision: u16::try_from(column.size).unwrap_or(DIGITS_MAX),
        scale: u16::try_from(column.decimal_digits).unwrap_or(0),
    };
    let logical = match logical_type(&name, size) {
        // A driver that speaks an old form of the protocol has other names; its codes are the standard's.
        LogicalType::Opaque if name.is_empty() => generic::result_column(column.clone()).logical,
        logical => logical,
    };
    Column {
        logical,
        declared: spelled(&name, size),
        ..generic::result_column(column)
    }
}

/// The column as it is read for another table of SQL Server: what only SQL Server understands goes as its own bytes.
pub(super) fn verbatim(column: &Column) -> Column {
    let mut column = column.clone();
    match base(&column.declared) {
        "hierarchyid" | "geometry" | "geography" => column.logical = LogicalType::BYTES,
        // A new table keeps the number; one that counts by itself could not be given it.
        "rowversion" => column.declared = "binary(8)".to_owned(),
        _ => {}
    }
    column
}

/// Why a column's values have no exact form to be read in.
pub(super) fn unreadable(column: &Column) -> Option<String> {
    if column.logical != LogicalType::Opaque {
        return None;
    }
    let name = base(&column.declared);
    let reason = match name {
        "xml" => return None,
        "sql_variant" => "has a type of its own for each value; cast it to one in a query, to text for example",
        "hierarchyid" => "means nothing outside of SQL Server; take its text in a query, such as `h.ToString()`",
        "geometry" | "geography" => {
            "means nothing outside of SQL Server; take its parts in a query, such as `g.AsBinaryZM()` and `g.STSrid`"
        }
        "vector" => "is handed over with fewer digits than its numbers have; cast it in a query if they are enough",
        _ => "has no exact form that dray knows; cast it to another type in a query",
    };
    Some(format!("`{name}` {reason}"))
}

/// The type for a source's column.
///
/// # Errors
/// Why there is none.
pub(super) fn declare(column: &Column) -> Result<(String, LogicalType), String> {
    let in_key = column.key_position.is_some();
    let text_of = |units: u32| {
        let collation = if in_key { KEY_COLLATION } else { "" };
        let logical = LogicalType::Text {
            length: Some(units),
            padding: Padding::None,
        };
        (format!("nvarchar({units}){collation}"), logical)
    };
    Ok(match column.logical {
        LogicalType::Boolean => ("bit".to_owned(), LogicalType::Boolean),
        LogicalType::Integer { bits, signed } => {
            let (name, bits, signed) = match (bits, signed) {
                (8, false) => ("tinyint", 8, false),
                (8, true) | (16, true) => ("smallint", 16, true),
                (16 | 24, false) | (24 | 32, true) => ("int", 32, true),
                (64, false) => return Ok(("decimal(20,0)".to_owned(), LogicalType::decimal(20, 0))),
                _ => ("bigint", 64, true),
            };
            (name.to_owned(), LogicalType::Integer { bits, signed })
        }
        LogicalType::Decimal { precision, scale, .. } => {
            let (precision, scale) = match (precision, scale) {
                (Some(precision), Some(scale)) => (precision.max(scale), scale),
                (_, Some(scale)) => (DIGITS_MAX, scale),
                _ => (DIGITS_MAX, SCALE_OF_UNBOUNDED),
            };
            if precision > DIGITS_MAX || scale > DIGITS_MAX {
                return Err(format!(
                    "the column has {precision} digits, and a decimal of SQL Server {DIGITS_MAX} at most; \
                     cast it in a query, or create the table yourself"
                ));
            }
            (
                format!("decimal({precision},{scale})"),
                LogicalType::decimal(precision, scale),
            )
        }
        LogicalType::Float { bits: 32 } => ("real".to_owned(), column.logical),
        LogicalType::Float { .. } => ("float".to_owned(), column.logical),
        LogicalType::Text {
            length: Some(length),
            padding: Padding::Filled,
        } if length <= if in_key { KEY_BYTES_MAX / 2 } else { UNITS_MAX } => {
            let collation = if in_key { KEY_COLLATION } else { "" };
            (format!("nchar({length}){collation}"), column.logical)
        }
        LogicalType::Text {
            length: Some(length), ..
        } if in_key => text_of(length.saturating_mul(2).min(KEY_BYTES_MAX / 2)),
        // A character takes up to two units.
        LogicalType::Text {
            length: Some(length), ..
        } if length <= UNITS_MAX / 2 => text_of(2 * length.max(1)),
        LogicalType::Text { .. } | LogicalType::Opaque | LogicalType::Json { .. } if in_key => {
            text_of(KEY_BYTES_MAX / 2)
        }
        LogicalType::Text { .. } | LogicalType::Opaque | LogicalType::Json { .. } => {
            ("nvarchar(max)".to_owned(), LogicalType::TEXT)
        }
        LogicalType::Bytes {
            length: Some(length),
            filled: true,
        } if (1..=BYTES_MAX).contains(&length) => (format!("binary({length})"), column.logical),
        LogicalType::Bytes {
            length: Some(length), ..
        } if (1..=BYTES_MAX).contains(&length) && !in_key => (
            format!("varbinary({length})"),
            LogicalType::Bytes {
                length: Some(length),
                filled: false,
            },
        ),
        LogicalType::Bytes { length, .. } if in_key => {
            let length = length.unwrap_or(KEY_BYTES_MAX).clamp(1, KEY_BYTES_MAX);
            (
                format!("varbinary({length})"),
                LogicalType::Bytes {
                    length: Some(length),
                    filled: false,
                },
            )
        }
        LogicalType::Bytes { .. } => ("varbinary(max)".to_owned(), LogicalType::BYTES),
        LogicalType::Date => ("date".to_owned(), LogicalType::Date),
        LogicalType::Time { digits, .. } => {
            let digits = digits.min(7);
            (format!("time({digits})"), LogicalType::Time { digits, span: false })
        }
        LogicalType::Timestamp { digits } => {
            let digits = digits.min(7);
            (format!("datetime2({digits})"), LogicalType::Timestamp { digits })
        }
        LogicalType::Instant { digits, .. } => {
            let digits = digits.min(7);
            let logical = LogicalType::Instant {
                digits,
                epoch_32: false,
            };
            (format!("datetimeoffset({digits})"), logical)
        }
        LogicalType::Uuid => ("uniqueidentifier".to_owned(), LogicalType::Uuid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(logical: LogicalType, key_position: Option<u16>) -> Column {
        Column {
            name: "c".to_owned(),
            logical,
            declared: String::new(),
            nullable: true,
            key_position,
            generated: false,
            from_catalog: false,
        }
    }

    fn row<const CELLS: usize>(cells: [&str; CELLS]) -> Column {
        catalog_column(&cells.map(|cell| (!cell.is_empty()).then(|| cell.to_owned())))
    }

    #[test]
    fn catalog_rows_become_columns_in_sql_servers_words() {
        let text = row(["c", "nvarchar", "100", "0", "0", "1", "0", "", ""]);
        assert_eq!(text.declared, "nvarchar(50)");
        assert_eq!(
            text.logical,
            LogicalType::Text {
                length: Some(50),
                padding: Padding::None
            }
        );
        let greek = row(["c", "varchar", "-1", "0", "0", "0", "0", "2", "Greek_CI_AS"]);
        assert_eq!(greek.declared, "varchar(max) COLLATE Greek_CI_AS");
        assert_eq!(
            (greek.logical, greek.nullable, greek.key_position),
            (LogicalType::TEXT, false, Some(2))
        );
        // The code page of its letters is that of its own collation.
        let old = row(["c", "text", "16", "0", "0", "1", "0", "", "Greek_CI_AS"]);
        assert_eq!(old.declared, "text COLLATE Greek_CI_AS");
        assert!(has_code_page(&old.declared));
        let number = row(["c", "numeric", "17", "38", "10", "1", "0", "", ""]);
        assert_eq!(
            (number.declared.as_str(), number.logical),
            ("numeric(38,10)", LogicalType::decimal(38, 10))
        );
        let counter = row(["c", "timestamp", "8", "0", "0", "0", "0", "", ""]);
        assert!(counter.generated && counter.declared == "rowversion");
        assert_eq!(verbatim(&counter).declared, "binary(8)");
    }

    #[test]
    fn a_vector_is_one_though_the_catalog_calls_it_varbinary() {
        let vector = row(["c", "varbinary", "20", "0", "0", "1", "0", "", "", "vector"]);
        assert_eq!(
            (vector.declared.as_str(), vector.logical),
            ("vector", LogicalType::Opaque)
        );
        let name = row(["c", "nvarchar", "256", "0", "0", "1", "0", "", "", "sysname"]);
        assert_eq!(name.declared, "nvarchar(128)");
        let bytes = row(["c", "varbinary", "20", "0", "0", "1", "0", "", "", "varbinary"]);
        assert_eq!(bytes.declared, "varbinary(20)");
    }

    #[test]
    fn text_gets_room_for_two_units_a_character_and_max_beyond_four_thousand() {
        let text = |length: u32, padding: Padding| LogicalType::Text {
            length: Some(length),
            padding,
        };
        let declared = |logical, key| declare(&column(logical, key)).unwrap().0;
        assert_eq!(declared(text(20, Padding::None), None), "nvarchar(40)");
        assert_eq!(declared(text(2_000, Padding::Stripped), None), "nvarchar(4000)");
        assert_eq!(declared(text(2_001, Padding::None), None), "nvarchar(max)");
        assert_eq!(declared(text(10, Padding::Filled), None), "nchar(10)");
        assert_eq!(
            declared(LogicalType::TEXT, Some(1)),
            "nvarchar(450) COLLATE Latin1_General_100_BIN2"
        );
    }

    #[test]
    fn a_decimal_of_more_than_38_digits_is_refused() {
        let reason = declare(&column(LogicalType::decimal(65, 30), None)).unwrap_err();
        assert!(reason.contains("65 digits"), "{reason}");
        assert_eq!(
            declare(&column(LogicalType::DECIMAL, None)).unwrap().0,
            "decimal(38,18)"
        );
    }

    #[test]
    fn types_that_only_sql_server_understands_are_read_for_sql_server_alone() {
        let of = |name: &str| row(["c", name, "-1", "0", "0", "1", "0", "", ""]);
        for name in [
            "sql_variant",
            "hierarchyid",
            "geometry",
            "geography",
            "vector",
            "dbo_type",
        ] {
            assert!(
                unreadable(&of(name)).is_some_and(|reason| reason.contains(name)),
                "{name}"
            );
        }
        assert_eq!(unreadable(&of("xml")), None);
        assert_eq!(unreadable(&verbatim(&of("geography"))), None);
        assert!(unreadable(&verbatim(&of("sql_variant"))).is_some());
    }
}
