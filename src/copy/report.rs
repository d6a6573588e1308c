//! What was copied, in plain values.

use serde::Serialize;

use super::{Phase, Side, TableError, job::Unlisted};

/// A failure after which the same was tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// What was being done.
    pub phase: Phase,
    /// Where.
    pub side: Side,
    /// Stable name of the error.
    pub code: String,
    /// SQLSTATE, if a driver spoke.
    pub sqlstate: Option<String>,
    /// The product's own error number, if a driver spoke.
    pub native: Option<i32>,
    /// What happened; never a cell value.
    pub message: String,
    /// Milliseconds of waiting before it was tried again.
    pub wait_ms: u64,
}

/// One table's copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// The source's name as it was given; its connection string is masked.
    pub source: String,
    /// The source table, or `query`; if the source could not be asked for its tables, the patterns.
    pub table: String,
    /// The table in the target.
    pub target: String,
    /// Rows that are in the target because of this copy; 0 if it failed.
    pub rows: u64,
    /// Bytes of their values as they lie in the engine's batches.
    pub bytes: u64,
    /// Milliseconds from the beginning of the call to that of this table.
    pub started_ms: u64,
    /// Milliseconds from plan to commit.
    pub duration_ms: u64,
    /// Which of those that copy at once has copied it, from 0.
    pub worker: usize,
    /// `append`, `truncate`, `replace`, `upsert`, `incremental` or `mirror`.
    pub mode: &'static str,
    /// Whether the target table was made by this copy.
    pub created: bool,
    /// The lane out; empty if it failed before one was chosen.
    pub read_lane: &'static str,
    /// Why this lane, and why none before it.
    pub read_lane_reason: String,
    /// The lane in.
    pub write_lane: &'static str,
    /// Why this lane, and why none before it.
    pub write_lane_reason: String,
    /// Whether the rows went from one lane to the other in the product's own form, unparsed.
    pub unparsed: bool,
    /// What the source table, or the one that was replaced, has and a table that was made by this copy lacks, such as
    /// ``index `t_a` ``.
    pub not_carried: Vec<String>,
    /// Infinite values that became NULL because it was asked for.
    pub nulls_for_infinity: u64,
    /// NaNs that became NULL because it was asked for.
    pub nulls_for_nan: u64,
    /// Zero dates that became NULL because it was asked for.
    pub nulls_for_zero_dates: u64,
    /// Times whose fraction of a second was rounded because it was asked for.
    pub rounded_fractions: u64,
    /// Whether nothing was done because the journal says that an earlier run of the same id has copied it; rows and bytes
    /// are those of then.
    pub skipped: bool,
    /// Failures after which the table was copied again.
    pub retries: Vec<Retry>,
    /// Why it failed, if it did.
    pub error: Option<Box<TableError>>,
    /// Key ranges that it was read in at the same time, 1 for the table as a whole; 0 if it was not read to its end.
    pub ranges: usize,
    /// Rows that the target has refused and that were left out; of a table that failed, those until then.
    pub rejected: u64,
    /// The file that they are in; empty if there are none.
    pub rejects_file: String,
    /// Columns of a target table that was there that hold fewer values than those of the source that went into them, such
    /// as ``column `note`: varchar(20) (text of 20 characters) into varchar(10) (text of 10 characters)``.
    pub narrower: Vec<String>,
    /// What was found to be equal before the commit: `count`, `checksum`, or nothing.
    pub verified: &'static str,
    /// The checksum of the rows, in hexadecimal digits, if it was asked for: the same for equal values in every product.
    pub checksum: Option<String>,
}

impl From<Unlisted> for TableReport {
    fn from(unlisted: Unlisted) -> Self {
        TableReport {
            source: unlisted.source,
            table: unlisted.table,
            target: unlisted.target,
            mode: unlisted.mode,
            error: Some(unlisted.error),
            ..TableReport::default()
        }
    }
}

/// All tables of a call in the order of the request, also those that were not begun; then one entry for each of its parts
/// whose source could not be asked for its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One entry a table, those that failed too.
    pub tables: Vec<TableReport>,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of all tables.
    pub bytes: u64,
    /// Milliseconds of the whole call.
    pub duration_ms: u64,
    /// Failures after which a connection was made again.
    pub retries: Vec<Retry>,
    /// What failed after all tables were copied: a statement that comes after them.
    pub error: Option<Box<TableError>>,
}
