//! Types of MariaDB and MySQL, from the catalog and for a CREATE TABLE.

use super::super::{Column, LogicalType, Padding, generic};
use crate::odbc::ResultColumn;

/// Most characters of a VARCHAR that is created; longer ones become LONGTEXT, since a row has 65,535 bytes in all.
const VARCHAR_MAX: u32 = 4_096;

/// Most characters of text in an InnoDB key: 3072 bytes of four each.
const KEY_TEXT_MAX: u32 = 768;

/// Most bytes of an InnoDB key.
const KEY_BYTES_MAX: u32 = 3_072;

/// A column from a row of the catalog query.
pub(super) fn catalog_column(row: &[Option<String>]) -> Column {
    let cell = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
    let declared = cell(3).to_owned();
    Column {
        name: cell(1).to_owned(),
        logical: logical_type(
            &cell(2).to_lowercase(),
            &declared,
            cell(4).parse().ok(),
            (cell(5).parse().ok(), cell(6).parse().ok()),
            cell(7).parse().unwrap_or(0),
        ),
        nullable: cell(8).eq_ignore_ascii_case("YES"),
        generated: cell(9).to_uppercase().contains("GENERATED")
            && !cell(9).to_uppercase().contains("DEFAULT_GENERATED"),
        key_position: cell(10).parse().ok(),
        from_catalog: true,
        declared,
    }
}

fn logical_type(
    data_type: &str,
    column_type: &str,
    length: Option<u64>,
    (precision, scale): (Option<u16>, Option<u16>),
    digits: u8,
) -> LogicalType {
    let signed = !column_type.contains("unsigned");
    let length = length.and_then(|length| u32::try_from(length).ok());
    let integer = |bits: u8| LogicalType::Integer { bits, signed };
    match data_type {
        "tinyint" => integer(8),
        "smallint" => integer(16),
        "mediumint" => integer(24),
        "int" => integer(32),
        "bigint" => integer(64),
        "year" => LogicalType::Integer {
            bits: 16,
            signed: false,
        },
        "bit" if column_type == "bit(1)" => LogicalType::Boolean,
        "bit" => LogicalType::Integer {
            bits: 64,
            signed: false,
        },
        "decimal" => LogicalType::Decimal {
            precision,
            scale,
            kept_digits: None,
        },
        // FLOAT(7,4) and DOUBLE(10,2) round what they are given, and are read as the decimals that they show.
        "float" | "double" if column_type.contains('(') => LogicalType::Decimal {
            precision,
            scale,
            kept_digits: Some(if data_type == "float" { 6 } else { 15 }),
        },
        "float" => LogicalType::Float { bits: 32 },
        "double" => LogicalType::Float { bits: 64 },
        "char" => LogicalType::Text {
            length,
            padding: Padding::Stripped,
        },
        // As a target of other text they are not exact: `A` becomes the member `a`, `1` the first one, `b,a` is `a,b`.
        "enum" | "set" => LogicalType::Opaque,
        "varchar" => LogicalType::Text {
            length,
            padding: Padding::None,
        },
        "tinytext" | "text" | "mediumtext" | "longtext" => LogicalType::TEXT,
        "binary" => LogicalType::Bytes { length, filled: true },
        "varbinary" => LogicalType::Bytes { length, filled: false },
        "date" => LogicalType::Date,
        "time" => LogicalType::Time { digits, span: true },
        "datetime" => LogicalType::Timestamp { digits },
        "timestamp" => LogicalType::Instant { digits, epoch_32: true },
        "uuid" => LogicalType::Uuid,
        // MariaDB's JSON is a LONGTEXT in the catalog too; this is MySQL's own.
        "json" => LogicalType::Json { normalized: true },
        "inet4" | "inet6" => LogicalType::Opaque,
        // Blobs, and geometries in the server's own bytes, which it takes back.
        _ => LogicalType::BYTES,
    }
}

/// A result's column. The driver's sizes are the server's; only TIMESTAMP cannot be told from DATETIME.
pub(super) fn result_column(column: ResultColumn) -> Column {
    let unbounded_text = column.type_name.ends_with("text");
    let unbounded_bytes = column.type_name.ends_with("blob");
    let is_timestamp = column.type_name == "timestamp";
    let mut column = generic::result_column(column);
    column.logical = match column.logical {
        _ if unbounded_text => LogicalType::TEXT,
        _ if unbounded_bytes => LogicalType::BYTES,
        LogicalType::Timestamp { digits } if is_timestamp => LogicalType::Instant { digits, epoch_32: true },
        LogicalType::Time { digits, .. } => LogicalType::Time { digits, span: true },
        LogicalType::Text {
            length,
            padding: Padding::Filled,
        } => LogicalType::Text {
            length,
            padding: Padding::Stripped,
        },
        other => other,
    };
    column
}

/// The type for a source's column.
pub(super) fn declare(column: &Column, mariadb: bool) -> (String, LogicalType) {
    let in_key = column.key_position.is_some();
    let none = Padding::None;
    match column.logical {
        LogicalType::Boolean => ("boolean".to_owned(), LogicalType::Integer { bits: 8, signed: true }),
        LogicalType::Integer { bits, signed } => {
            let name = match bits {
                8 => "tinyint",
                16 => "smallint",
                24 => "mediumint",
                32 => "int",
                _ => "bigint",
            };
            (
                format!("{name}{}", if signed { "" } else { " unsigned" }),
                column.logical,
            )
        }
        LogicalType::Decimal { precision, scale, .. } => {
            // The server's most digits are 65, of which 30 (MySQL) or 38 (MariaDB) may follow the point.
            let (precision, scale) = match (precision, scale) {
                (Some(precision), Some(scale)) => (precision.min(65), scale.min(if mariadb { 38 } else { 30 })),
                _ => (65, 30),
            };
            (
                format!("decimal({precision},{scale})"),
                LogicalType::decimal(precision, scale),
            )
        }
        LogicalType::Float { bits: 32 } => ("float".to_owned(), column.logical),
        LogicalType::Float { .. } => ("double".to_owned(), column.logical),
        LogicalType::Text {
            length: Some(length),
            padding: Padding::Stripped,
        } if length <= 255 => (format!("char({length})"), column.logical),
        LogicalType::Text {
            length: Some(length), ..
        } if length <= if in_key { KEY_TEXT_MAX } else { VARCHAR_MAX } => (
            format!("varchar({length})"),
            LogicalType::Text {
                length: Some(length),
                padding: none,
            },
        ),
        LogicalType::Text { .. } | LogicalType::Opaque if in_key => (
            format!("varchar({KEY_TEXT_MAX})"),
            LogicalType::Text {
                length: Some(KEY_TEXT_MAX),
                padding: none,
            },
        ),
        LogicalType::Text { .. } | LogicalType::Opaque => ("longtext".to_owned(), LogicalType::TEXT),
        LogicalType::Bytes {
            length: Some(length),
            filled: true,
        } if length <= 255 => (format!("binary({length})"), column.logical),
        LogicalType::Bytes {
            length: Some(length), ..
        } if length <= if in_key { KEY_BYTES_MAX } else { VARCHAR_MAX } => (
            format!("varbinary({length})"),
            LogicalType::Bytes {
                length: Some(length),
                filled: false,
            },
        ),
        LogicalType::Bytes { .. } if in_key => {
            let logical = LogicalType::Bytes {
                length: Some(KEY_BYTES_MAX),
                filled: false,
            };
            (format!("varbinary({KEY_BYTES_MAX})"), logical)
        }
        LogicalType::Bytes { .. } => ("longblob".to_owned(), LogicalType::BYTES),
        LogicalType::Date => ("date".to_owned(), LogicalType::Date),
        LogicalType::Time { digits, .. } => {
            let digits = digits.min(6);
            (format!("time({digits})"), LogicalType::Time { digits, span: true })
        }
        LogicalType::Timestamp { digits } => {
            let digits = digits.min(6);
            (format!("datetime({digits})"), LogicalType::Timestamp { digits })
        }
        LogicalType::Instant { digits, epoch_32: true } => {
            // `NULL`: without it the first such column gets ON UPDATE CURRENT_TIMESTAMP by itself.
            let null = if column.nullable && !in_key { " NULL" } else { "" };
            (format!("timestamp({}){null}", digits.min(6)), column.logical)
        }
        // TIMESTAMP ends in 2038 and DATETIME has no zone: the instant is kept as UTC.
        LogicalType::Instant { digits, .. } => {
            let digits = digits.min(6);
            (format!("datetime({digits})"), LogicalType::Timestamp { digits })
        }
        LogicalType::Uuid if mariadb => ("uuid".to_owned(), LogicalType::Uuid),
        LogicalType::Uuid => (
            "char(36)".to_owned(),
            LogicalType::Text {
                length: Some(36),
                padding: Padding::Stripped,
            },
        ),
        // MySQL's JSON would reorder keys; MariaDB's is text with a check.
        LogicalType::Json { normalized: false } if !mariadb => ("longtext".to_owned(), LogicalType::TEXT),
        LogicalType::Json { .. } => ("json".to_owned(), column.logical),
    }
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

    #[test]
    fn text_without_a_bound_in_a_key_gets_the_longest_that_a_key_takes() {
        assert_eq!(declare(&column(LogicalType::TEXT, None), true).0, "longtext");
        assert_eq!(declare(&column(LogicalType::TEXT, Some(1)), true).0, "varchar(768)");
    }

    #[test]
    fn catalog_rows_become_columns_with_their_sizes() {
        let row = |cells: [&str; 11]| cells.map(|cell| (!cell.is_empty()).then(|| cell.to_owned())).to_vec();
        let unsigned = row([
            "t",
            "id",
            "bigint",
            "bigint(20) unsigned",
            "",
            "20",
            "0",
            "",
            "NO",
            "auto_increment",
            "1",
        ]);
        let unsigned = catalog_column(&unsigned);
        assert_eq!(
            unsigned.logical,
            LogicalType::Integer {
                bits: 64,
                signed: false
            }
        );
        assert!(!unsigned.nullable && unsigned.key_position == Some(1) && !unsigned.generated);
        let decimal = row(["t", "d", "decimal", "decimal(20,4)", "", "20", "4", "", "YES", "", ""]);
        assert_eq!(catalog_column(&decimal).logical, LogicalType::decimal(20, 4));
        let computed = row([
            "t",
            "g",
            "int",
            "int(11)",
            "",
            "10",
            "0",
            "",
            "YES",
            "STORED GENERATED",
            "",
        ]);
        assert!(catalog_column(&computed).generated);
    }
}
