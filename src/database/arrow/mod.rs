//! Arrow's tables in this process's memory as one more product: what other libraries (pyarrow, polars, pandas, DuckDB)
//! hand over and take through Arrow's C interface.
//!
//! Its dialect says which of Arrow's types a column becomes, and what these do not hold. It has no sessions and no lanes:
//! rows come in by a [`Reader`](super::Reader) of their own ([`Rows`]), and go out batch by batch ([`record_batch`]).

mod abi;
mod export;
mod import;
mod types;

pub use self::{
    abi::{ArrowArray, ArrowArrayStream, ArrowSchema, Failure, Field, Incoming, Producer, schema_of, stream_of},
    export::record_batch,
    import::Rows,
    types::Type,
};
use super::{
    Column, Dialect, Error, Form, Limits, LoadSteps, LogicalType, Mode, ReadAs, Relation, Table, Transfer, WriteAs,
};
use crate::odbc::Session;

/// What becomes of times of more than six digits of a second's fraction, and of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Nanoseconds where the column has more than six digits, else microseconds.
    Declared,
    /// Microseconds.
    Micro,
    /// Nanoseconds.
    Nano,
}

/// What becomes of decimals that Arrow's do not hold, for want of a declared size or because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decimals {
    /// They are handed out as decimals of so many digits, so many of them after the point; a value that needs more is
    /// refused.
    Sized(u16, u16),
    /// They are handed out as text.
    Text,
}

/// The dialect.
#[derive(Clone, Copy, Debug)]
pub struct Arrow {
    /// Decimals without a size, or of too many digits.
    pub decimals: Decimals,
    /// The unit of times.
    pub times: Times,
}

impl Arrow {
    /// Without choices.
    pub const DEFAULT: Arrow = Arrow {
        decimals: Decimals::Sized(38, 18),
        times: Times::Declared,
    };

    fn digits(self, declared: u8) -> u8 {
        match self.times {
            Times::Declared if declared > 6 => 9,
            Times::Declared | Times::Micro => 6,
            Times::Nano => 9,
        }
    }
}

impl Dialect for Arrow {
    fn name(&self) -> &'static str {
        "arrow"
    }

    fn is_product(&self, _dbms_name: &str) -> bool {
        false
    }

    fn is_driver(&self, _file_name: &str) -> bool {
        false
    }

    fn default_schema(&self, _session: &Session) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn relations(&self, _session: &Session, _catalog: Option<&str>) -> Result<Vec<Relation>, Error> {
        Ok(Vec::new())
    }

    fn table(&self, _session: &Session, _relation: &Relation) -> Result<Option<Table>, Error> {
        Ok(None)
    }

    fn read_as(&self, column: &Column) -> ReadAs {
        ReadAs {
            expression: self.quote(&column.name),
            transfer: Transfer::Native,
            bound: None,
        }
    }

    fn write_as(&self, _column: &Column) -> WriteAs {
        WriteAs {
            expression: "?".to_owned(),
            form: Form::Text,
        }
    }

    fn declare(&self, column: &Column) -> Result<(String, LogicalType), String> {
        let logical = match column.logical {
            LogicalType::Integer { bits: 24, signed } => LogicalType::Integer { bits: 32, signed },
            LogicalType::Decimal { precision, scale, .. } => LogicalType::Decimal {
                precision: precision.map(|precision| precision.max(scale.unwrap_or(0))),
                scale,
                kept_digits: None,
            },
            LogicalType::Bytes { .. } => LogicalType::BYTES,
            LogicalType::Time { digits, .. } => LogicalType::Time {
                digits: self.digits(digits),
                span: false,
            },
            LogicalType::Timestamp { digits } => LogicalType::Timestamp {
                digits: self.digits(digits),
            },
            LogicalType::Instant { digits, .. } => LogicalType::Instant {
                digits: self.digits(digits),
                epoch_32: false,
            },
            // What an application reads of these is text.
            LogicalType::Text { .. } | LogicalType::Uuid | LogicalType::Json { .. } | LogicalType::Opaque => {
                LogicalType::TEXT
            }
            other => other,
        };
        if let Ok(kind) = Type::of(logical) {
            return Ok((kind.name(), logical));
        }
        let logical = match self.decimals {
            Decimals::Sized(precision, scale) => LogicalType::decimal(precision, scale),
            Decimals::Text => LogicalType::TEXT,
        };
        Ok((Type::of(logical)?.name(), logical))
    }

    fn limits(&self) -> Limits {
        Limits {
            nul_in_text: true,
            nan: true,
            infinity: true,
            years: i16::MIN..=9999,
            instants_as_utc: false,
            infinite_dates: false,
            zero_dates: false,
            decimal_nan: false,
            decimal_infinity: false,
            keeps_declared_sizes: false,
        }
    }

    fn load_steps(
        &self,
        _mode: Mode,
        _exists: bool,
        _target: &Relation,
        _staging: &Relation,
        _create: &dyn Fn(&Relation) -> String,
    ) -> LoadSteps {
        LoadSteps::default()
    }
}
