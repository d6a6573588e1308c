//! What a table is made of, in words that all products share: names, logical types, columns.

use std::fmt;

use super::batch::Layout;

/// A table or view by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Relation {
    /// The server that the connection's own reaches it by (SQL Server: a linked one); `None` for the connection's own.
    pub server: Option<String>,
    /// Its database, which ODBC calls a catalog; `None` for the connection's own.
    pub catalog: Option<String>,
    /// Its schema (in MariaDB and MySQL its database); `None` for the connection's own.
    pub schema: Option<String>,
    /// Its name, as the database stores it.
    pub name: String,
}

impl Relation {
    /// One of the connection's own database.
    pub fn new(schema: Option<String>, name: impl Into<String>) -> Relation {
        Relation {
            server: None,
            catalog: None,
            schema,
            name: name.into(),
        }
    }

    /// One of another name in the same place.
    pub fn beside(&self, name: impl Into<String>) -> Relation {
        Relation {
            name: name.into(),
            ..self.clone()
        }
    }

    /// The name that it has within its database.
    pub fn within_database(&self) -> Relation {
        Relation::new(self.schema.clone(), self.name.as_str())
    }

    /// The same, of the connection's own schema if it does not say of which; `None` where the product has no such notion.
    pub fn whole(&self, own_schema: Option<&String>) -> Relation {
        Relation {
            schema: self.schema.clone().or_else(|| own_schema.cloned()),
            ..self.clone()
        }
    }

    /// Whether it says in which database, or at which server, it is.
    pub fn is_elsewhere(&self) -> bool {
        self.server.is_some() || self.catalog.is_some()
    }

    /// The name's parts, from the first that is said on; empty where one between is left out (`database..table`).
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        let parts = [&self.server, &self.catalog, &self.schema];
        let said = parts.into_iter().skip_while(|part| part.is_none());
        said.map(|part| part.as_deref().unwrap_or_default())
            .chain([self.name.as_str()])
    }

    /// The name with dots between its parts, each as `spelled` has it.
    pub fn joined(&self, spelled: impl Fn(&str) -> String) -> String {
        let part = |part: &str| match part {
            "" => String::new(),
            part => spelled(part),
        };
        self.parts().map(part).collect::<Vec<_>>().join(".")
    }

    /// Reads `name`, `schema.name`, `database.schema.name` or `server.database.schema.name`; of the last two, what stands
    /// between the first and the last part may be left out (`database..name`). A part in double quotes or brackets may hold
    /// dots, and its closing mark doubled.
    ///
    /// # Errors
    /// What is wrong with the text: an empty part, an open quote, more than four parts.
    pub fn parse(text: &str) -> Result<Relation, String> {
        let mut parts = vec![String::new()];
        // What ends the part that is in quotes.
        let mut closing = None;
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let is_first = parts.last().is_none_or(String::is_empty);
            match letter {
                letter if closing == Some(letter) && letters.peek() == Some(&letter) => {
                    letters.next();
                    parts.last_mut().into_iter().for_each(|part| part.push(letter));
                }
                letter if closing == Some(letter) => closing = None,
                '"' if closing.is_none() => closing = Some('"'),
                '[' if closing.is_none() && is_first => closing = Some(']'),
                '.' if closing.is_none() => parts.push(String::new()),
                letter => parts.last_mut().into_iter().for_each(|part| part.push(letter)),
            }
        }
        if closing.is_some() {
            return Err(format!("table name `{text}` has an open quote"));
        }
        if parts.len() > 4 {
            return Err(format!(
                "table name `{text}` has {} parts, `server.database.schema.table` are the most",
                parts.len()
            ));
        }
        let can_be_empty = |place: usize| place > 0 && place + 1 < parts.len();
        if (0..parts.len()).any(|place| parts[place].is_empty() && !can_be_empty(place)) {
            return Err(format!("table name `{text}` has an empty part"));
        }
        let mut next = || parts.pop();
        let name = next().unwrap_or_default();
        let mut next = || next().filter(|part| !part.is_empty());
        let (schema, catalog, server) = (next(), next(), next());
        Ok(Relation {
            server,
            catalog,
            schema,
            name,
        })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(str::to_owned))
    }
}

/// What a text takes of which no bound is known, or a high one alone.
const TYPICAL_TEXT_BYTES: u64 = 32;

/// What a fixed-length character type does with trailing spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Nothing: a varying length.
    None,
    /// Values come back filled with spaces to the full length (PostgreSQL).
    Filled,
    /// Values come back without their trailing spaces (MariaDB, MySQL).
    Stripped,
}

/// A column's type in words that all products share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogicalType {
    /// True or false.
    Boolean,
    /// A whole number of 8, 16, 24, 32 or 64 bits.
    Integer {
        /// Its width.
        bits: u8,
        /// Whether it has negative values.
        signed: bool,
    },
    /// An exact decimal number.
    Decimal {
        /// Most digits in all; `None` without a bound.
        precision: Option<u16>,
        /// Digits after the point; `None` if each value has its own.
        scale: Option<u16>,
        /// Most significant digits that the column keeps of any value, where that is less than it declares.
        kept_digits: Option<u16>,
    },
    /// A binary floating-point number of 32 or 64 bits.
    Float {
        /// Its width.
        bits: u8,
    },
    /// Text.
    Text {
        /// Most characters; `None` without a bound that matters.
        length: Option<u32>,
        /// What becomes of trailing spaces.
        padding: Padding,
    },
    /// Bytes.
    Bytes {
        /// Most bytes; `None` without a bound that matters.
        length: Option<u32>,
        /// Whether shorter values are filled with zero bytes.
        filled: bool,
    },
    /// A day of the Gregorian calendar.
    Date,
    /// A time of day; as a source also a span (MariaDB: from -838 to 838 hours).
    Time {
        /// Digits of a second's fraction.
        digits: u8,
        /// Whether spans beyond a day, and negative ones, fit.
        span: bool,
    },
    /// Date and time without a zone.
    Timestamp {
        /// Digits of a second's fraction.
        digits: u8,
    },
    /// A point in time.
    Instant {
        /// Digits of a second's fraction.
        digits: u8,
        /// Whether it only holds 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC (MariaDB's and MySQL's TIMESTAMP).
        epoch_32: bool,
    },
    /// A UUID.
    Uuid,
    /// A JSON document.
    Json {
        /// Whether the product keeps the meaning only, and not the text (PostgreSQL's jsonb).
        normalized: bool,
    },
    /// A type that only the product itself knows; its text form is exact and read back by the product.
    Opaque,
}

impl LogicalType {
    /// How its values lie in a batch.
    pub fn layout(self) -> Layout {
        match self {
            LogicalType::Boolean => Layout::I64,
            // Beyond i64; its digits are carried as text.
            LogicalType::Integer {
                bits: 64,
                signed: false,
            } => Layout::Decimal,
            LogicalType::Integer { .. } => Layout::I64,
            LogicalType::Decimal { .. } => Layout::Decimal,
            LogicalType::Float { .. } => Layout::F64,
            LogicalType::Bytes { .. } => Layout::Bytes,
            LogicalType::Date => Layout::Date,
            LogicalType::Time { .. } => Layout::Time,
            LogicalType::Timestamp { .. } => Layout::Timestamp,
            LogicalType::Instant { .. } => Layout::Instant,
            LogicalType::Text { .. } | LogicalType::Uuid | LogicalType::Json { .. } | LogicalType::Opaque => {
                Layout::Text
            }
        }
    }

    /// About how many bytes a value takes, where nobody has looked at any.
    fn typical_bytes(self) -> u64 {
        match self {
            LogicalType::Boolean => 1,
            LogicalType::Integer { bits, .. } | LogicalType::Float { bits } => u64::from(bits) / 8,
            LogicalType::Text { length, .. } | LogicalType::Bytes { length, .. } => {
                u64::from(length.unwrap_or(u32::MAX)).min(TYPICAL_TEXT_BYTES)
            }
            LogicalType::Json { .. } | LogicalType::Opaque => TYPICAL_TEXT_BYTES,
            LogicalType::Uuid => 16,
            LogicalType::Decimal { .. }
            | LogicalType::Date
            | LogicalType::Time { .. }
            | LogicalType::Timestamp { .. }
            | LogicalType::Instant { .. } => 8,
        }
    }

    /// Text without a bound.
    pub const TEXT: LogicalType = LogicalType::Text {
        length: None,
        padding: Padding::None,
    };

    /// Bytes without a bound.
    pub const BYTES: LogicalType = LogicalType::Bytes {
        length: None,
        filled: false,
    };

    /// A decimal number of any size.
    pub const DECIMAL: LogicalType = LogicalType::Decimal {
        precision: None,
        scale: None,
        kept_digits: None,
    };

    /// A decimal number with a declared size.
    pub fn decimal(precision: u16, scale: u16) -> LogicalType {
        LogicalType::Decimal {
            precision: Some(precision),
            scale: Some(scale),
            kept_digits: None,
        }
    }
}

/// A column of a table or of a query's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, as the database stores it.
    pub name: String,
    /// Its type in words that all products share.
    pub logical: LogicalType,
    /// Its type in the product's own words, as they stand in a CREATE TABLE.
    pub declared: String,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Its place in the primary key, from 1.
    pub key_position: Option<u16>,
    /// Whether the database computes it, so that nobody can write it.
    pub generated: bool,
    /// Whether `declared` is the catalog's spelling, which a CREATE TABLE of the same product takes.
    pub from_catalog: bool,
}

impl Column {
    /// Whether it never holds NULL: it says so, or is a part of the primary key.
    pub fn is_required(&self) -> bool {
        !self.nullable || self.key_position.is_some()
    }
}

/// Something that has columns and rows, and is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Such as `a view`.
    pub what: &'static str,
    /// Whether the product can take all rows out of it.
    pub emptied: bool,
}

/// What numbers the rows of a column that are inserted without a value, where it does not look at those with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The column.
    pub column: String,
    /// Its name, in quotes.
    pub name: String,
    /// Its step and the last number that it can give; `None` if the user may not set it.
    pub step: Option<(i64, i64)>,
}

/// A table or view that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// What it is, if it is no table.
    pub kind: Option<Kind>,
    /// Why a load cannot be undone, if it cannot (MyISAM and Aria).
    pub not_transactional: Option<String>,
    /// Why another table cannot take its place, if that is known beforehand.
    pub not_replaceable: Option<String>,
    /// Its counters.
    pub counters: Vec<Counter>,
    /// Why it takes rows and does not keep all of them, without an error, if so.
    pub drops_rows: Option<String>,
    /// How many rows its database believes that it has, if it keeps such a number.
    pub estimated_rows: Option<u64>,
    /// Whether it is known to hold all its rows itself, and to show the user all of them: nothing inherits from it, no policy
    /// hides a row.
    pub is_plain: bool,
}

impl Table {
    /// About how many bytes it holds, from the number of its rows and the types of its columns.
    pub fn estimated_bytes(&self) -> Option<u64> {
        let row = self.columns.iter().map(|column| column.logical.typical_bytes()).sum();
        Some(self.estimated_rows?.saturating_mul(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_has_up_to_four_parts_and_quotes_or_brackets_hold_dots() {
        let relation = |schema: Option<&str>, name: &str| Ok(Relation::new(schema.map(str::to_owned), name));
        assert_eq!(Relation::parse("SalesLT.Größe"), relation(Some("SalesLT"), "Größe"));
        assert_eq!(Relation::parse("t"), relation(None, "t"));
        assert_eq!(Relation::parse(r#""a.b"."c""d""#), relation(Some("a.b"), r#"c"d"#));
        assert_eq!(Relation::parse("[a.b].[c]]d]"), relation(Some("a.b"), "c]d"));
        assert_eq!(Relation::parse("t[1]"), relation(None, "t[1]"));
        let parts = |text: &str| {
            let Relation {
                server,
                catalog,
                schema,
                name,
            } = Relation::parse(text).unwrap();
            [server, catalog, schema, Some(name)].map(Option::unwrap_or_default)
        };
        assert_eq!(parts("[other db].[dbo].[or.ders]"), ["", "other db", "dbo", "or.ders"]);
        assert_eq!(parts("other..orders"), ["", "other", "", "orders"]);
        assert_eq!(parts("linked.db.dbo.t"), ["linked", "db", "dbo", "t"]);
        assert_eq!(parts("linked...t"), ["linked", "", "", "t"]);
        for text in ["", "a.", ".a", "a.b.", ".a.b", "a.b.c.d.e", "\"a", "[a"] {
            assert!(Relation::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_table_name_is_told_as_it_is_read() {
        for text in [
            "t",
            "s.t",
            "db.s.t",
            "db..t",
            "linked.db.s.t",
            "linked..s.t",
            "linked...t",
        ] {
            assert_eq!(Relation::parse(text).unwrap().to_string(), text);
        }
    }
}
