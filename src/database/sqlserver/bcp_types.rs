//! What a column is bound as in a bulk copy, type by type, and why.
//!
//! The driver's functions take a value in the form of any type and convert it to the column's. Most of these conversions
//! change values without a word (seen with 18.6): a decimal loses the digits that its column has no place for, a
//! `datetime` is rounded, UTF-16 becomes `?` or a letter that looks alike in a code page, UTF-8 is cut in the middle of a
//! character. So each column is bound as its own type, and what the driver would have to change is refused before it.
//!
//! - `bit`, `tinyint`, `smallint`, `int`, `bigint`, `real`, `float`, `binary`, `varbinary`: as they are; these are the bytes
//!   that are sent.
//! - `decimal`, `numeric`: `SQL_NUMERIC_STRUCT` with the column's own scale, which goes out as it is. With another scale the
//!   driver drops digits; as text the server would round.
//! - `money`, `smallmoney`: ten-thousandths, as they are kept. As a decimal the driver would drop digits.
//! - `date`, `time`, `datetime2`, `datetimeoffset`: their structures. `bcp_bind` has no argument for a scale, which is why
//!   others send text; the driver takes that of the column, and a finer fraction is an error (22008).
//! - `datetime`, `smalldatetime`: days, and 1/300 s or minutes, as they are kept. As a timestamp the driver would round.
//! - `uniqueidentifier`: its 16 bytes, in the order that the server keeps.
//! - `nchar`, `nvarchar`: UTF-16, as it is kept.
//! - `char`, `varchar`: bytes of the column's code page or UTF-8, bound as those of a `varbinary`, which the driver passes
//!   on. As text it would convert them, see above; and an empty `char` would go out as the value of the row before.
//! - `nvarchar(max)`, `varchar(max)`, `varbinary(max)`: the same, in pieces (`bcp_moretext`), so that a long value is not in
//!   memory a second time. Bound with a length before it, an empty one would go out as 65,535 bytes of whatever lies there.
//! - `ntext`, `text`, `image`: the same, whole, each row with its own address. In pieces the driver sends a byte too many behind a row
//!   that ends in a NULL, and an empty `(max)` value for a NULL that follows one of them.
//! - `xml`: not at all. The server drops the blanks between elements of what is bulk-copied.
//! - `json`, `sql_variant`, `hierarchyid`, `geometry`, `geography`, `vector`: not at all. No form of them that the driver
//!   takes is documented.

use super::{
    super::{Column, Layout},
    types,
};

/// Type tokens of `msodbcsql.h`.
mod token {
    pub(super) const IMAGE: i32 = 0x22;
    pub(super) const UNIQUEID: i32 = 0x24;
    pub(super) const DATEN: i32 = 0x28;
    pub(super) const TIMEN: i32 = 0x29;
    pub(super) const DATETIME2N: i32 = 0x2A;
    pub(super) const DATETIMEOFFSETN: i32 = 0x2B;
    pub(super) const INT1: i32 = 0x30;
    pub(super) const BIT: i32 = 0x32;
    pub(super) const INT2: i32 = 0x34;
    pub(super) const INT4: i32 = 0x38;
    pub(super) const DATETIM4: i32 = 0x3A;
    pub(super) const FLT4: i32 = 0x3B;
    pub(super) const MONEY: i32 = 0x3C;
    pub(super) const DATETIME: i32 = 0x3D;
    pub(super) const FLT8: i32 = 0x3E;
    pub(super) const NTEXT: i32 = 0x63;
    pub(super) const DECIMALN: i32 = 0x6A;
    pub(super) const MONEY4: i32 = 0x7A;
    pub(super) const INT8: i32 = 0x7F;
    pub(super) const BIGVARBINARY: i32 = 0xA5;
    pub(super) const BIGVARCHAR: i32 = 0xA7;
    pub(super) const NVARCHAR: i32 = 0xE7;
}

/// As what a column without a value of ours is bound, of any type: the driver leaves it out.
pub(super) const LEFT_OUT: Bound = Bound {
    token: token::NVARCHAR,
    form: Form::Utf16,
    place: Place::Row { bytes: 2 },
};

/// How a column is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// The driver's type.
    pub token: i32,
    /// What a value is turned into.
    pub form: Form,
    /// Where it lies when it is sent.
    pub place: Place,
}

/// Where a column's values lie when they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the row, behind their length.
    Row {
        /// The most that a value takes.
        bytes: usize,
    },
    /// In memory of their own, whose address and length the driver is told before each row.
    Aside,
    /// Handed over in pieces after the row, an empty one at the end.
    Pieces,
}

/// What a value is turned into; see the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A byte, 0 or 1.
    Bit,
    /// A byte without a sign.
    U8,
    /// A number of 2 bytes.
    I16,
    /// A number of 4 bytes.
    I32,
    /// A number of 8 bytes.
    I64,
    /// A float of 4 bytes.
    F32,
    /// A float of 8 bytes.
    F64,
    /// `SQL_NUMERIC_STRUCT`.
    Numeric {
        /// The column's digits in all.
        precision: u8,
        /// Those after the point.
        scale: u8,
    },
    /// Ten-thousandths as `DBMONEY`.
    Money,
    /// Ten-thousandths as `DBMONEY4`.
    SmallMoney,
    /// `SQL_DATE_STRUCT`.
    Date,
    /// `SQL_SS_TIME2_STRUCT`.
    Time,
    /// `SQL_TIMESTAMP_STRUCT`.
    Timestamp,
    /// `SQL_SS_TIMESTAMPOFFSET_STRUCT`.
    Offset,
    /// `DBDATETIME`.
    DateTime,
    /// `DBDATETIM4`.
    SmallDateTime,
    /// The 16 bytes of a GUID.
    Guid,
    /// UTF-16.
    Utf16,
    /// Bytes of the column's code page.
    CodePage,
    /// Bytes as they are.
    Bytes,
}

impl Bound {
    /// How a column of this type is bound.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn of(column: &Column) -> Result<Bound, String> {
        let base = types::base(&column.declared);
        let (first, second) = sizes(&column.declared);
        let row = |token: i32, bytes: usize, form: Form| Bound {
            token,
            form,
            place: Place::Row { bytes },
        };
        let long = |token: i32, form: Form, place: Place| Bound { token, form, place };
        let refused = |reason: &str| Err(format!("column `{}` is of type `{base}`, {reason}", column.name));
        let bound = match base {
            "bit" => row(token::BIT, 1, Form::Bit),
            "tinyint" => row(token::INT1, 1, Form::U8),
            "smallint" => row(token::INT2, 2, Form::I16),
            "int" => row(token::INT4, 4, Form::I32),
            "bigint" => row(token::INT8, 8, Form::I64),
            "real" => row(token::FLT4, 4, Form::F32),
            "float" => row(token::FLT8, 8, Form::F64),
            "decimal" | "numeric" => match (first.and_then(|p| u8::try_from(p).ok()), second) {
                (Some(precision), Some(scale)) => row(token::DECIMALN, 19, Form::Numeric { precision, scale }),
                _ => return refused("without its digits"),
            },
            "money" => row(token::MONEY, 8, Form::Money),
            "smallmoney" => row(token::MONEY4, 4, Form::SmallMoney),
            "date" => row(token::DATEN, 6, Form::Date),
            "time" => row(token::TIMEN, 12, Form::Time),
            "datetime2" => row(token::DATETIME2N, 16, Form::Timestamp),
            "datetimeoffset" => row(token::DATETIMEOFFSETN, 20, Form::Offset),
            "datetime" => row(token::DATETIME, 8, Form::DateTime),
            "smalldatetime" => row(token::DATETIM4, 4, Form::SmallDateTime),
            "uniqueidentifier" => row(token::UNIQUEID, 16, Form::Guid),
            "nchar" | "nvarchar" => match first {
                Some(units) => row(token::NVARCHAR, 2 * units, Form::Utf16),
                None => long(token::NVARCHAR, Form::Utf16, Place::Pieces),
            },
            "char" | "varchar" => match first {
                Some(bytes) => row(token::BIGVARBINARY, bytes, Form::CodePage),
                None => long(token::BIGVARCHAR, Form::CodePage, Place::Pieces),
            },
            "binary" | "varbinary" => match first {
                Some(bytes) => row(token::BIGVARBINARY, bytes, Form::Bytes),
                None => long(token::BIGVARBINARY, Form::Bytes, Place::Pieces),
            },
            "ntext" => long(token::NTEXT, Form::Utf16, Place::Aside),
            "text" => long(token::BIGVARBINARY, Form::CodePage, Place::Aside),
            "image" => long(token::IMAGE, Form::Bytes, Place::Aside),
            "xml" => return refused("and a bulk copy would lose the blanks between its elements"),
            _ => return refused("which no form of the driver's bulk copy is known to keep"),
        };
        match bound.form.layout() == column.logical.layout() {
            true => Ok(bound),
            false => refused("and its values come in another form"),
        }
    }
}

impl Form {
    /// The layout of the values that are turned into it.
    fn layout(self) -> Layout {
        match self {
            Form::Bit | Form::U8 | Form::I16 | Form::I32 | Form::I64 => Layout::I64,
            Form::F32 | Form::F64 => Layout::F64,
            Form::Numeric { .. } | Form::Money | Form::SmallMoney => Layout::Decimal,
            Form::Date => Layout::Date,
            Form::Time => Layout::Time,
            Form::Timestamp | Form::DateTime | Form::SmallDateTime => Layout::Timestamp,
            Form::Offset => Layout::Instant,
            Form::Guid | Form::Utf16 | Form::CodePage => Layout::Text,
            Form::Bytes => Layout::Bytes,
        }
    }
}

/// Whether the driver keeps long values of these columns apart, which are in the order of their table.
///
/// # Errors
/// Why not. Seen with 18.6: behind a `(max)` value it sends one byte of whatever lies there for a `text`.
pub(super) fn keeps_apart<'a>(columns: impl Iterator<Item = &'a Column>) -> Result<(), String> {
    let mut before = None;
    for column in columns {
        match Bound::of(column)?.place {
            Place::Row { .. } => {}
            Place::Pieces => before = Some(column),
            Place::Aside => {
                if let Some(before) = before {
                    return Err(format!(
                        "column `{}` is of type `{}` and stands behind `{}`, of type `{}`, and the driver's bulk copy does \
                         not keep their values apart",
                        column.name,
                        types::base(&column.declared),
                        before.name,
                        before.declared
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The numbers in a type's parentheses; none for `max`.
fn sizes(declared: &str) -> (Option<usize>, Option<u8>) {
    let inner = declared.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let mut parts = inner.map_or("", |(inner, _)| inner).split(',').map(str::trim);
    let first = parts.next().and_then(|part| part.parse().ok());
    (first, parts.next().and_then(|part| part.parse().ok()))
}

/// The collation that a type is declared with, if it is not its database's own.
pub(super) fn collation(declared: &str) -> Option<&str> {
    declared.split_once(" COLLATE ").map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Dialect, LogicalType};

    fn column(declared: &str, logical: LogicalType) -> Column {
        Column {
            name: "c".to_owned(),
            logical,
            declared: declared.to_owned(),
            nullable: true,
            key_position: None,
            generated: false,
            from_catalog: true,
        }
    }

    #[test]
    fn each_type_is_bound_as_itself() {
        let bound =
            |declared: &str, logical| Bound::of(&column(declared, logical)).map(|bound| (bound.token, bound.place));
        let decimal = bound("decimal(38,10)", LogicalType::decimal(38, 10));
        assert_eq!(decimal, Ok((token::DECIMALN, Place::Row { bytes: 19 })));
        let text = bound("nvarchar(50) COLLATE Greek_CI_AS", LogicalType::TEXT);
        assert_eq!(text, Ok((token::NVARCHAR, Place::Row { bytes: 100 })));
        let long = bound("varchar(max) COLLATE Greek_CI_AS", LogicalType::TEXT);
        assert_eq!(long, Ok((token::BIGVARCHAR, Place::Pieces)));
        let old = bound("image", LogicalType::BYTES);
        assert_eq!(old, Ok((token::IMAGE, Place::Aside)));
    }

    #[test]
    fn every_type_that_a_new_table_gets_is_bound() {
        use crate::database::sqlserver::MICROSOFT;
        let all = [
            LogicalType::Boolean,
            LogicalType::Integer { bits: 8, signed: false },
            LogicalType::Integer { bits: 16, signed: true },
            LogicalType::Integer {
                bits: 64,
                signed: false,
            },
            LogicalType::DECIMAL,
            LogicalType::Float { bits: 32 },
            LogicalType::TEXT,
            LogicalType::BYTES,
            LogicalType::Date,
            LogicalType::Time { digits: 6, span: false },
            LogicalType::Timestamp { digits: 9 },
            LogicalType::Instant {
                digits: 6,
                epoch_32: false,
            },
            LogicalType::Uuid,
            LogicalType::Json { normalized: true },
        ];
        for logical in all {
            let (declared, logical) = MICROSOFT.declare(&column("", logical)).unwrap();
            Bound::of(&column(&declared, logical)).unwrap();
        }
    }

    #[test]
    fn what_would_be_changed_or_is_not_known_is_left_to_another_lane() {
        for declared in ["xml", "json", "sql_variant", "geography", "dbo.phone", "decimal"] {
            let reason = Bound::of(&column(declared, LogicalType::DECIMAL)).unwrap_err();
            assert!(reason.contains(declared), "{reason}");
        }
        assert!(Bound::of(&column("int", LogicalType::TEXT)).is_err());
    }

    #[test]
    fn an_old_long_column_behind_a_max_one_is_left_to_another_lane() {
        let of = |names: &[&str]| -> Vec<Column> {
            let logical = |name: &str| match name {
                "int" => LogicalType::Integer { bits: 32, signed: true },
                _ => LogicalType::TEXT,
            };
            names.iter().map(|name| column(name, logical(name))).collect()
        };
        assert_eq!(keeps_apart(of(&["text", "int", "varchar(max)"]).iter()), Ok(()));
        let reason = keeps_apart(of(&["varchar(max)", "int", "ntext"]).iter()).unwrap_err();
        assert!(
            reason.contains("`ntext`") && reason.contains("`varchar(max)`"),
            "{reason}"
        );
    }

    #[test]
    fn a_collation_is_told_apart_from_its_type() {
        assert_eq!(collation("varchar(5) COLLATE Greek_CI_AS"), Some("Greek_CI_AS"));
        assert_eq!(collation("varchar(5)"), None);
        assert_eq!(sizes("decimal(38, 10)"), (Some(38), Some(10)));
        assert_eq!(sizes("nvarchar(max)"), (None, None));
    }
}
