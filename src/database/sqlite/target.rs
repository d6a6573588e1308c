//! A column that is written to, and which values it keeps as they are. Pure.

use super::{
    affinity::{Affinity, looks_numeric},
    spelling::Number,
};
use crate::database::{Column, LogicalType, Value, ValueCheck, generic::Classed};

/// What becomes of values in a column.
pub(super) struct Target {
    name: String,
    declared: String,
    affinity: Affinity,
    /// Whether it is another name of the rowid.
    is_rowid: bool,
}

impl Target {
    /// The column's rules; `is_strict` says whether its table is STRICT.
    pub(super) fn of(column: &Column, is_strict: bool) -> Target {
        // There a column of type ANY keeps every value.
        let affinity = match is_strict && column.declared.eq_ignore_ascii_case("ANY") {
            true => Affinity::Blob,
            false => Affinity::of(&column.declared),
        };
        Target {
            name: column.name.clone(),
            declared: column.declared.clone(),
            affinity,
            is_rowid: column.key_position.is_some() && column.declared.eq_ignore_ascii_case("INTEGER"),
        }
    }

    /// The column's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether text that is a number becomes one, so that decimals are handed over as numbers.
    pub(super) fn is_numeric(&self) -> bool {
        self.affinity.is_numeric()
    }

    /// Whether the column is one for values of this type.
    ///
    /// # Errors
    /// If it would turn each of them into something else.
    pub(super) fn takes(&self, logical: LogicalType) -> Result<(), String> {
        let changed_to = match (logical, self.affinity) {
            (LogicalType::Boolean | LogicalType::Integer { .. } | LogicalType::Float { .. }, Affinity::Text) => "text",
            (LogicalType::Boolean | LogicalType::Integer { .. }, Affinity::Real) => "real numbers",
            _ => return Ok(()),
        };
        Err(format!(
            "SQLite keeps numbers in a column of type `{}` as {changed_to}",
            self.declared
        ))
    }

    /// Whether the column keeps the value as it is; a real number without a fraction may become the equal integer.
    ///
    /// # Errors
    /// What would become of it.
    pub(super) fn keeps(&self, value: Classed<'_>) -> Result<(), String> {
        let kept = match value {
            Classed::Blob(_) => true,
            Classed::Text(text) => {
                if self.is_numeric() && looks_numeric(text) {
                    return Err(format!(
                        "the value is text that is a number, which SQLite turns into one in a column of type `{}`",
                        self.declared
                    ));
                }
                true
            }
            Classed::Real(value) if value.is_nan() => {
                return Err("the value is NaN, which SQLite stores as NULL".to_owned());
            }
            Classed::Real(value) => {
                if value == 0.0 && value.is_sign_negative() && self.is_numeric() {
                    let reason = "the value is -0.0, which SQLite stores as 0.0 in a column of type";
                    return Err(format!("{reason} `{}`", self.declared));
                }
                self.affinity != Affinity::Text
            }
            Classed::Integer(value) => match self.affinity {
                Affinity::Text => false,
                Affinity::Real => value.unsigned_abs() <= 1 << 53,
                _ => true,
            },
        };
        match kept {
            true => Ok(()),
            false => Err(format!(
                "the value is a number, which SQLite does not keep as it is in a column of type `{}`",
                self.declared
            )),
        }
    }

    /// Whether the column keeps NULL.
    ///
    /// # Errors
    /// What would become of it.
    pub(super) fn keeps_null(&self) -> Result<(), String> {
        match self.is_rowid {
            true => Err("the value is NULL, for which SQLite would put a number of its own".to_owned()),
            false => Ok(()),
        }
    }

    /// Decimal digits as a column of numbers keeps them.
    ///
    /// # Errors
    /// If it does not keep all of them.
    pub(super) fn number(&self, digits: &str) -> Result<Number, String> {
        let number = Number::parse_fast(digits);
        let number = number.ok_or("the value is a number of more digits than SQLite keeps there")?;
        if let Number::Integer(value) = number {
            self.keeps(Classed::Integer(value))?;
        }
        Ok(number)
    }

    /// The same questions for the generic lane; `None` if every value of the type is kept.
    pub(super) fn check(self, logical: LogicalType) -> Option<ValueCheck> {
        let changes_some = match logical {
            LogicalType::Boolean | LogicalType::Integer { .. } => self.takes(logical).is_err(),
            LogicalType::Bytes { .. } => false,
            LogicalType::Float { .. } => true,
            _ => self.is_numeric(),
        };
        if !changes_some && !self.is_rowid {
            return None;
        }
        Some(Box::new(move |value| {
            self.takes(logical)?;
            match value {
                Value::Null => self.keeps_null(),
                Value::I64(value) => self.keeps(Classed::Integer(value)),
                Value::F64(value) => self.keeps(Classed::Real(value)),
                Value::Text(text) => self.keeps(Classed::Text(text.as_bytes())),
                Value::Decimal(digits) if self.is_numeric() => self.number(digits).map(drop),
                _ => Ok(()),
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(declared: &str) -> Target {
        Target::of(
            &Column {
                name: "c".to_owned(),
                logical: LogicalType::TEXT,
                declared: declared.to_owned(),
                nullable: true,
                key_position: (declared == "INTEGER").then_some(1),
                generated: false,
                from_catalog: true,
            },
            false,
        )
    }

    #[test]
    fn a_value_that_the_affinity_would_change_is_not_kept() {
        for (declared, value) in [
            ("STRING", Classed::Text(b"00123")),
            ("DOUBLE", Classed::Real(-0.0)),
            ("", Classed::Real(f64::NAN)),
            ("TEXT", Classed::Integer(1)),
            ("TEXT", Classed::Real(1.5)),
            ("REAL", Classed::Integer(i64::MAX)),
        ] {
            assert!(target(declared).keeps(value).is_err(), "{value:?} in `{declared}`");
        }
        for (declared, value) in [
            ("STRING", Classed::Text(b"a")),
            ("TEXT", Classed::Text(b"00123")),
            ("", Classed::Real(-0.0)),
            ("DOUBLE", Classed::Real(-1.0)),
            ("REAL", Classed::Integer(1 << 53)),
            ("INTEGER", Classed::Blob(b"1")),
        ] {
            assert_eq!(target(declared).keeps(value), Ok(()), "{value:?} in `{declared}`");
        }
        assert!(target("INTEGER").keeps_null().is_err());
        assert!(target("DECIMAL(20,2)").number("123456789012345678.5").is_err());
        assert!(target("TEXT").check(LogicalType::TEXT).is_none());
    }
}
