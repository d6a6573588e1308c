//! What somebody wants copied.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use crate::{database::Mode, odbc::ConnectionString};

/// A database by connection string, and how messages call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The linked service's name, or the connection string with its secrets masked.
    pub label: String,
    /// How to connect.
    pub string: ConnectionString,
}

/// What is read of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Tables and views: `schema.table` or `table`, with `*` and `?` as wildcards.
    Tables {
        /// Names or patterns.
        names: Vec<String>,
        /// Names or patterns of what is left out.
        exclude: Vec<String>,
        /// What is another way for some of them, by name or pattern. A table takes what stands by its own name before
        /// what stands by a pattern, and nothing from both.
        overrides: Vec<(String, TableOptions)>,
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
    /// What becomes of each.
    pub options: TableOptions,
}

/// What becomes of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The target's name, in which `{schema}` and `{table}` stand for the source's; `None`: the source table's name in
    /// the target's own schema.
    pub into: Option<String>,
    /// A condition in the source's SQL, without WHERE; `None` for a query.
    pub condition: Option<String>,
    /// Which of its columns, and what they are called in the target.
    pub columns: ColumnSelection,
    /// How an existing table meets the new rows.
    pub meeting: Meeting,
    /// Statements of the target's SQL around its load, in its transaction.
    pub around: Around,
}

/// Which columns of a table or query are copied, in which order, and what they are called in the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnSelection {
    /// Their names in the source, or patterns, in the order of the target; none: all of them, in the source's order.
    pub only: Vec<String>,
    /// Names or patterns of what is left out.
    pub exclude: Vec<String>,
    /// Names in the source, each with that in the target.
    pub rename: Vec<(String, String)>,
}

/// Statements of the target's SQL around a table's load, in its transaction; `{target}` in them stands for the table that
/// the rows go into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Before anything else is done to the table.
    pub before: Vec<String>,
    /// After the rows.
    pub after: Vec<String>,
}

impl ColumnSelection {
    /// What it says, for telling it from others; none if it says nothing.
    pub(super) fn texts(&self) -> Vec<&str> {
        let rename: Vec<&String> = self.rename.iter().flat_map(|(from, to)| [from, to]).collect();
        let parts: [(&str, Vec<&String>); 3] = [
            ("columns", self.only.iter().collect()),
            ("exclude", self.exclude.iter().collect()),
            ("rename", rename),
        ];
        let said = parts.into_iter().filter(|(_, texts)| !texts.is_empty());
        said.flat_map(|(name, texts)| std::iter::once(name).chain(texts.into_iter().map(String::as_str)))
            .collect()
    }
}

/// Everything that one call copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// From where.
    pub copies: Vec<TableRequest>,
    /// To where.
    pub target: Endpoint,
    /// Statements around the load of every table, outside of a table's own.
    pub around: Around,
    /// Statements that are run once, before the first table and after the last, each of the two in a transaction of its own.
    pub around_run: Around,
    /// Which lanes may be taken.
    pub lanes: Lanes,
    /// Bytes that the engine and the client libraries that it drives may hold, all tables of the call together.
    pub memory_limit_bytes: usize,
    /// Most tables at the same time; `None`: as many as there are cores, and two at least, eight at most.
    pub parallel: Option<usize>,
    /// What becomes of values that the target does not hold, where there is a choice.
    pub choices: Choices,
    /// The run that the call belongs to: what an earlier run of this id has finished is skipped. `None`: every call is new,
    /// and there is no journal.
    pub run: Option<Run>,
    /// What a table that the copy makes takes over beside its columns and primary key.
    pub schema: Schema,
    /// Whether a table that is there gets the columns of its source that it lacks; else it is refused.
    pub add_columns: bool,
    /// What becomes of a table that is there and has narrower columns than its source.
    pub narrower: Narrower,
    /// What becomes of the constraints of a table that is there.
    pub constraints: Constraints,
    /// How it is seen that the rows in the target are those of the source.
    pub verify: Verify,
    /// What becomes of a row that the target refuses.
    pub on_reject: OnReject,
    /// The part of all tables that this call copies; `None`: all of them.
    pub shard: Option<Shard>,
    /// Most key ranges of one table that are read at once, and most sessions that load one where that gains; `None`: one.
    pub ranges: Option<usize>,
    /// For how long a database that is starting, waking up or too busy is asked again, and whether a table whose connection
    /// was lost is copied again; zero: neither.
    pub patience: Duration,
}

/// How an existing table meets the new rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// What becomes of the table.
    pub mode: Mode,
    /// How rows meet those of the same key; the mode is then [`Mode::Append`].
    pub merge: Option<Merge>,
}

impl Default for Meeting {
    fn default() -> Self {
        Meeting {
            mode: Mode::Append,
            merge: None,
        }
    }
}

/// How the rows of an existing table meet new ones of the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// What happens to them.
    pub kind: MergeKind,
    /// The columns that tell rows apart; none: those of the target's primary key.
    pub key: Vec<String>,
}

/// What happens to rows that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeKind {
    /// Those of the same key take the new values.
    Upsert,
    /// As for an upsert, but only what has changed is read.
    Incremental {
        /// The column that grows with each change.
        watermark: String,
        /// How far before the mark of the last copy the rows begin: seconds for dates and times, else a number.
        overlap: u64,
    },
    /// As for an upsert, and those go whose key has not come.
    Mirror,
}

impl Meeting {
    /// Whether only what has changed is read.
    pub(super) fn is_incremental(&self) -> bool {
        matches!(&self.merge, Some(merge) if matches!(merge.kind, MergeKind::Incremental { .. }))
    }

    /// What users call it.
    pub(super) fn mode_name(&self) -> &'static str {
        match (&self.merge, self.mode) {
            (Some(merge), _) => match merge.kind {
                MergeKind::Upsert => "upsert",
                MergeKind::Incremental { .. } => "incremental",
                MergeKind::Mirror => "mirror",
            },
            (None, Mode::Append) => "append",
            (None, Mode::Truncate) => "truncate",
            (None, Mode::Replace) => "replace",
        }
    }
}

/// A run, and how it is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id, at most [`RUN_ID_CHARACTERS_MAX`] characters.
    pub id: String,
    /// Where the id comes from.
    pub origin: RunOrigin,
    /// The activity's name; empty outside of one.
    pub activity: String,
}

/// Where a run's id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOrigin {
    /// Somebody has given it, to this call or to `dray run`: without a journal nothing is copied.
    Given,
    /// The activity's extended property `run_id`.
    Property,
    /// The Batch job and task, which are others in a retry of the activity.
    Batch,
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

/// What a table that the copy makes takes over beside its columns and primary key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schema {
    /// All that the target can have: indexes, defaults, checks, identities, foreign keys, comments. What it cannot is in the
    /// report.
    #[default]
    Full,
    /// Nothing.
    Columns,
}

/// What becomes of a table that is there and has narrower columns than its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Narrower {
    /// It fails before its first row.
    #[default]
    Refuse,
    /// Each value is looked at, and the first that does not fit fails it.
    Check,
}

/// What becomes of the CHECK and FOREIGN KEY constraints of a table that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Constraints {
    /// The server looks at them.
    #[default]
    Check,
    /// It does not.
    Skip,
}

/// How it is seen that the rows in the target are those of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Not at all.
    None,
    /// The target has as many rows more as were read.
    #[default]
    Count,
    /// As for the count, and what the target gives back hashes to what was read.
    Checksum,
}

/// What becomes of a row that the target refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnReject {
    /// It fails its table.
    #[default]
    Fail,
    /// It is left out, and written to a file of its table.
    File {
        /// The folder of the files.
        folder: PathBuf,
        /// The most for one table; one more fails it. `None`: any number.
        max: Option<u64>,
    },
}

/// One of so many parts into which the tables of a request are split, the same way whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 1.
    pub number: u32,
    /// Of how many.
    pub count: u32,
}

impl FromStr for Shard {
    type Err = String;

    /// From a text such as `3/8`.
    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.trim().split_once('/');
        let parts = parts.and_then(|(number, count)| Some((number.trim().parse().ok()?, count.trim().parse().ok()?)));
        match parts {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Shard { number, count }),
            _ => Err(format!(
                "`{text}` is no shard; a text such as `3/8`, the third of eight, is allowed"
            )),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
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

/// Most characters of a run's id.
pub const RUN_ID_CHARACTERS_MAX: usize = 255;

/// The patience of a call that names none: a serverless database takes about a minute to wake up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The budget of a call that names none.
pub const MEMORY_LIMIT_BYTES: usize = 256 << 20;

/// The least budget that a table is copied with; fewer tables are copied at once before one of them has less.
pub const MEMORY_LIMIT_BYTES_MIN: usize = 32 << 20;
