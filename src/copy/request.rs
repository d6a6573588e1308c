//! What somebody wants copied.

use crate::{database::Mode, odbc::ConnectionString};

/// A database by connection string, and how messages call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The linked service's name, or the connection string with its secrets masked.
    pub label: String,
    /// How to connect.
    pub string: ConnectionString,
}

/// Which rows of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Tables and views: `schema.table` or `table`, with `*` and `?` as wildcards.
    Tables {
        /// Names or patterns.
        names: Vec<String>,
        /// Names or patterns of what is left out.
        exclude: Vec<String>,
        /// A condition in the source's SQL, without WHERE.
        condition: Option<String>,
    },
    /// The result of a SELECT in the source's SQL.
    Query(String),
}

/// Tables of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRequest {
    /// Where the rows are.
    pub source: Endpoint,
    /// Which ones.
    pub selection: Selection,
    /// The target's name, in which `{schema}` and `{table}` stand for the source's; `None`: the source table's name in
    /// the target's own schema.
    pub into: Option<String>,
}

/// Everything that one call copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// From where.
    pub copies: Vec<TableRequest>,
    /// To where.
    pub target: Endpoint,
    /// How existing tables meet the new rows.
    pub mode: Mode,
    /// Which lanes may be taken.
    pub lanes: Lanes,
    /// Bytes that the engine and the client libraries that it drives may hold, all tables of the call together.
    pub memory_limit_bytes: usize,
    /// Most tables at the same time; `None`: as many as there are cores, and two at least, eight at most.
    pub parallel: Option<usize>,
    /// What becomes of values that the target does not hold, where there is a choice.
    pub choices: Choices,
}

/// What becomes of values that the target does not hold, where there is a choice. Values that it holds are copied in any
/// case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Infinite floats, decimals, dates and timestamps.
    pub infinity: Choice,
    /// Floats and decimals that are NaN.
    pub nan: Choice,
    /// `0000-00-00` of MariaDB and MySQL, as a date or with a time of zero.
    pub zero_dates: Choice,
    /// Times whose fraction of a second has more digits than the target keeps.
    pub fraction: Fraction,
}

/// What becomes of a fraction of a second that the target does not keep whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fraction {
    /// It fails its table.
    #[default]
    Refuse,
    /// It is rounded to the digits that the target keeps, half of the last one up, and counted in the report.
    Round,
}

/// What becomes of such a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// It fails its table.
    #[default]
    Refuse,
    /// It becomes NULL, if the target's column allows it, and is counted in the report.
    Null,
}

/// Which lanes may be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lanes {
    /// The first that offers itself.
    #[default]
    Auto,
    /// The generic ODBC lane alone, on both sides.
    Odbc,
}

/// The budget of a call that names none.
pub const MEMORY_LIMIT_BYTES: usize = 256 << 20;

/// The least budget that a table is copied with; fewer tables are copied at once before one of them has less.
pub const MEMORY_LIMIT_BYTES_MIN: usize = 32 << 20;
