//! What runs have finished, kept in the target itself: a table of one row for each table that was copied under a run's id,
//! and one for each watermark of an incremental copy, whose run's id is empty.
//!
//! The row is written in the transaction of the table's rows, so that both are there or neither. A second run of the same id
//! reads them with one query, and leaves out what is there. Products that rename a new table into its place after the
//! commit (`LoadSteps::staging`) have the new table's name in the row: as long as there is such a table, it was not renamed,
//! and the row counts for nothing.
//!
//! Knows which copies are the same copy, and nothing of how one is done. Holds no connection string and no condition: a
//! hash stands for each.

use std::{
    collections::{HashMap, HashSet},
    sync::{LazyLock, Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::{
    error::{Phase, Place, Side, TableError},
    job::Job,
    pipeline::Moved,
    request::{ColumnSelection, Endpoint, Run, RunOrigin, Shard},
};
use crate::database::{self, Class, Connection, Dialect, LockName, Relation, Source};

/// The journal's name, in the target's default schema.
pub(super) const NAME: &str = "dray_journal";

/// What stands in the place of a mark for a table that the copy has made.
const MADE: &str = "made";

const PLACE: Place = Place {
    phase: Phase::Plan,
    side: Side::Target,
};

/// How often this process has finished each copy. A script may make the same copy twice, and means it; a later run of the
/// script comes by in the same order.
static FINISHED_HERE: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(Mutex::default);

/// The journal of a target, as it was when the call began.
pub(super) struct Journal {
    dialect: &'static dyn Dialect,
    /// In quotes.
    table: String,
    /// Makes the table, where that is still to be done.
    create: Option<String>,
    run: Option<Run>,
    /// Of this run, by their entry.
    finished: HashMap<String, Finished>,
    /// Of incremental copies, by their entry.
    marks: HashMap<String, String>,
    /// Entries of which it has to be looked under the lock whether they count, or whose loads have left something.
    doubted: HashSet<String>,
}

/// What the journal says of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Finished {
    /// Rows of then.
    pub rows: u64,
    /// Bytes of then.
    pub bytes: u64,
    /// The table beside the target that the rows were loaded into; if it is still there, it has not taken the target's
    /// place.
    pub staging: Option<String>,
    /// Whether the copy has made the table.
    pub made: bool,
}

/// One copy's place in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    run_id: String,
    /// Its key, beside the run's id.
    pub key: String,
    /// What it is counted by in this process.
    counted_as: String,
    /// The values of the columns that say what it is, see [`facts_of`].
    facts: [String; 8],
}

/// A watermark that moves with the rows that are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MarkMove {
    /// The mark's place in the journal.
    pub entry: Entry,
    /// Where it was when the call began.
    pub before: Option<String>,
    /// Where it is to be.
    pub after: String,
}

impl Journal {
    /// Reads the journal of a run, and the marks if they are wanted, and makes its table if there is none. `None` if none can
    /// be kept and nobody has asked for it by giving an id or by an incremental copy; the log then says why.
    ///
    /// # Errors
    /// None can be kept, though it is asked for.
    pub fn open(
        run: Option<&Run>,
        wants_marks: bool,
        target: &Connection,
        schema: Option<&str>,
    ) -> Result<Option<Journal>, Box<TableError>> {
        let is_needed = wants_marks || run.is_some_and(|run| run.origin == RunOrigin::Given);
        let why = match Self::read(run, wants_marks, target, schema) {
            Ok(journal) => return Ok(Some(journal)),
            Err(error) if is_needed || error.code == "copy.cancelled" => {
                let mut error = error;
                error.message = format!("the journal `{NAME}` cannot be kept: {}", error.message);
                if !wants_marks {
                    error.hint = Some("let the user create it, or copy without a run's id (`run_id=\"\"`)".to_owned());
                }
                return Err(error);
            }
            Err(error) => error,
        };
        tracing::warn!(
            event = "copy.no_journal",
            code = why.code,
            "no journal `{NAME}` at the target, a second run copies everything again: {}",
            why.message
        );
        Ok(None)
    }

    fn read(
        run: Option<&Run>,
        wants_marks: bool,
        target: &Connection,
        schema: Option<&str>,
    ) -> Result<Journal, Box<TableError>> {
        let failed = |error| TableError::database(PLACE, error, Some(target.dialect));
        let relation = Relation::new(schema.map(str::to_owned), NAME);
        let Some(create) = target.dialect.create_journal(&relation) else {
            let message = format!("dray keeps none in this product (`{}`)", target.dialect.name());
            return Err(TableError::refused(PLACE, "copy.no_journal", message));
        };
        let mut journal = Journal {
            dialect: target.dialect,
            table: target.dialect.quote_relation(&relation),
            create: None,
            run: run.cloned(),
            finished: HashMap::new(),
            marks: HashMap::new(),
            doubted: HashSet::new(),
        };
        let ids = run
            .map(|run| run.id.as_str())
            .into_iter()
            .chain(wants_marks.then_some(""));
        let ids: Vec<String> = ids.map(|id| journal.dialect.literal(id)).collect();
        let sql = format!("{} WHERE run_id IN ({})", journal.select(), ids.join(", "));
        let rows = match target.session.text_rows(&sql, &[]) {
            Ok(rows) => rows,
            Err(error) => {
                let error = database::Error::from(error);
                if target.classify(&error) != Class::NotFound {
                    return Err(failed(error));
                }
                if target.dialect.creates_journal_late() {
                    journal.create = Some(create);
                    return Ok(journal);
                }
                let made = target.session.execute(&create);
                // Another run may have made it at the same moment.
                match target.session.text_rows(&sql, &[]) {
                    Ok(rows) => rows,
                    Err(error) => return Err(failed(made.err().unwrap_or(error).into())),
                }
            }
        };
        for row in &rows {
            let cell = |place: usize| row.get(place).cloned().flatten();
            // A mark is of no run; in a run's row stands there whether the table was made.
            let mark = cell(4).filter(|_| cell(5).as_deref().unwrap_or_default().is_empty());
            match (cell(0), mark) {
                (Some(key), Some(mark)) => drop(journal.marks.insert(key, mark)),
                (Some(key), None) => drop(journal.finished.insert(key, finished(row))),
                (None, _) => {}
            }
        }
        Ok(journal)
    }

    /// The entry of a copy under the run's id, if the run has one; `target` names the table with its schema.
    pub fn entry(&self, job: &Job<'_>, target: &Relation, into: &Endpoint) -> Option<Entry> {
        let run = self.run.as_ref()?;
        let mode = job.options.meeting.mode_name();
        let facts = facts_of(job, target, (mode, &job.options.columns), &run.activity);
        let names: Vec<&str> = facts.iter().map(String::as_str).collect();
        let counted_as = hash(&[&[run.id.as_str(), &into.string.identity()], names.as_slice()].concat());
        let finished = FINISHED_HERE.lock().unwrap_or_else(PoisonError::into_inner);
        let times = finished.get(&counted_as).copied().unwrap_or(0).to_string();
        Some(Entry {
            run_id: run.id.clone(),
            key: hash(&[names.as_slice(), &[times.as_str()]].concat()),
            counted_as,
            facts,
        })
    }

    /// The entry of an incremental copy's mark, which is the same for every run and activity; and for whichever columns,
    /// since it is about rows.
    pub fn mark_entry(&self, job: &Job<'_>, target: &Relation, watermark: &str) -> Entry {
        let facts = facts_of(job, target, ("mark", &ColumnSelection::default()), "");
        let names: Vec<&str> = facts.iter().map(String::as_str).collect();
        Entry {
            run_id: String::new(),
            key: hash(&[names.as_slice(), &[watermark]].concat()),
            counted_as: String::new(),
            facts,
        }
    }

    /// The mark of an incremental copy, as it was when the call began.
    pub fn mark(&self, entry: &Entry) -> Option<&str> {
        self.marks.get(&entry.key).map(String::as_str)
    }

    /// Whether an earlier run has finished this, as far as it was known when the call began.
    pub fn finished(&self, entry: &Entry) -> Option<&Finished> {
        self.finished.get(&entry.key)
    }

    /// Notes that a copy's row may not count.
    pub fn doubt(&mut self, entry: &Entry) {
        self.finished.remove(&entry.key);
        self.doubted.insert(entry.key.clone());
    }

    /// Whether a copy's row may not count.
    pub fn is_doubted(&self, entry: &Entry) -> bool {
        self.doubted.contains(&entry.key)
    }

    /// The statement that makes the journal's table, if it has to come before any other in a transaction.
    pub fn create(&self) -> Option<&str> {
        self.create.as_deref()
    }

    /// The query for what the journal says of a copy now; see [`finished`].
    pub fn find(&self, entry: &Entry) -> String {
        format!("{} WHERE {}", self.select(), self.is(entry))
    }

    /// The statement that writes a copy's row, to be run in the transaction of its rows; `made` says whether it has made
    /// the table.
    pub fn record(&self, entry: &Entry, moved: &Moved, staging: Option<&Relation>, made: bool) -> String {
        let staging = staging.map(|relation| relation.name.as_str());
        self.insert(entry, moved, (staging, made.then_some(MADE)))
    }

    /// The statement that moves a mark, to be run in the transaction of the rows. It changes one row, or another run has
    /// moved the mark meanwhile.
    pub fn move_mark(&self, mark: &MarkMove, moved: &Moved) -> String {
        match &mark.before {
            None => self.insert(&mark.entry, moved, (None, Some(&mark.after))),
            Some(before) => format!(
                "UPDATE {} SET mark = {}, rows_copied = {}, bytes_copied = {}, finished_at = CURRENT_TIMESTAMP \
                 WHERE {} AND mark = {}",
                self.table,
                self.dialect.literal(&mark.after),
                moved.rows,
                moved.bytes,
                self.is(&mark.entry),
                self.dialect.literal(before)
            ),
        }
    }

    fn insert(&self, entry: &Entry, moved: &Moved, (staging, mark): (Option<&str>, Option<&str>)) -> String {
        let literal = |text: &str| self.dialect.literal(text);
        let or_null = |text: Option<&str>| text.map_or("NULL".to_owned(), literal);
        let facts: Vec<String> = entry.facts.iter().map(|text| literal(text)).collect();
        format!(
            "INSERT INTO {} (run_id, entry, activity, source, source_table, target_table, filter, shard, key_range, mode, \
             rows_copied, bytes_copied, staging, mark) VALUES ({}, {}, {}, {}, {}, {}, {})",
            self.table,
            literal(&entry.run_id),
            literal(&entry.key),
            facts.join(", "),
            moved.rows,
            moved.bytes,
            or_null(staging),
            or_null(mark)
        )
    }

    /// The statement that takes a copy's row back.
    pub fn forget(&self, entry: &Entry) -> String {
        format!("DELETE FROM {} WHERE {}", self.table, self.is(entry))
    }

    fn select(&self) -> String {
        format!(
            "SELECT entry, rows_copied, bytes_copied, staging, mark, run_id FROM {}",
            self.table
        )
    }

    fn is(&self, entry: &Entry) -> String {
        let (run, key) = (self.dialect.literal(&entry.run_id), self.dialect.literal(&entry.key));
        format!("run_id = {run} AND entry = {key}")
    }
}

impl Entry {
    /// Notes which shard's it is. Not a part of its key: whoever has copied a table, and into how many parts the tables were
    /// split, it is copied.
    pub fn of_shard(mut self, shard: Option<Shard>) -> Entry {
        let [.., of_shard, _, _] = &mut self.facts;
        *of_shard = shard.map(|shard| shard.to_string()).unwrap_or_default();
        self
    }

    /// Notes that this process has come by: the next time that the same is to be copied, it is meant.
    pub fn count(&self) {
        let mut finished = FINISHED_HERE.lock().unwrap_or_else(PoisonError::into_inner);
        *finished.entry(self.counted_as.clone()).or_default() += 1;
    }
}

/// What a copy is, in the order of the journal's columns; `columns` are a part of the filter, where any are chosen.
fn facts_of(
    job: &Job<'_>,
    target: &Relation,
    (mode, columns): (&str, &ColumnSelection),
    activity: &str,
) -> [String; 8] {
    let source = hash(&[&job.source.string.identity()]);
    let (table, filter) = match &job.what {
        Source::Table { relation, condition } => (spelled(relation), condition.as_deref()),
        Source::Query(sql) => ("query".to_owned(), Some(sql.as_str())),
    };
    let filter: Vec<&str> = filter.into_iter().chain(columns.texts()).collect();
    let filter = match filter.is_empty() {
        true => String::new(),
        false => hash(&filter),
    };
    // Whole tables; a range of keys is named here, a shard by `Entry::of_shard`.
    let (shard, key_range) = (String::new(), String::new());
    let activity = activity.to_owned();
    let target = spelled(target);
    [
        activity,
        source,
        table,
        target,
        filter,
        shard,
        key_range,
        mode.to_owned(),
    ]
}

/// What a row of the journal's queries says.
pub(super) fn finished(row: &[Option<String>]) -> Finished {
    let cell = |position: usize| row.get(position).and_then(Option::as_deref);
    let number = |position: usize| cell(position).and_then(|text| text.parse().ok()).unwrap_or(0);
    Finished {
        rows: number(1),
        bytes: number(2),
        staging: cell(3).map(str::to_owned),
        made: cell(4) == Some(MADE),
    }
}

/// A hash of texts, in hexadecimal digits, that tells where one ends and the next begins.
fn hash(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A relation as `Relation::parse` reads it, for whatever names.
fn spelled(relation: &Relation) -> String {
    relation.joined(|name| match name.contains(['.', '"']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    })
}

/// What stands for a table in its database where it is locked: the same for a session of that database, and for one that
/// reaches the table from another.
pub(super) fn lock_name(table: &Relation) -> LockName {
    let digest = Sha256::digest(spelled(&table.within_database()));
    LockName(
        digest
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        copy::TableOptions,
        database::{Mode, dialect},
        odbc::ConnectionString,
    };

    fn journal(product: &str, id: &str) -> Journal {
        let run = Run {
            id: id.to_owned(),
            origin: RunOrigin::Given,
            activity: "Copy".to_owned(),
        };
        Journal {
            dialect: dialect(product),
            table: "dray_journal".to_owned(),
            create: None,
            run: Some(run),
            finished: HashMap::new(),
            marks: HashMap::new(),
            doubted: HashSet::new(),
        }
    }

    fn endpoint(text: &str) -> Endpoint {
        Endpoint {
            label: String::new(),
            string: ConnectionString::parse(text).unwrap(),
        }
    }

    fn relation(name: &str) -> Relation {
        Relation::new(None, name)
    }

    /// The entry of a copy of `t` under a run's id.
    fn entry(id: &str, source: &str, condition: Option<&str>, target: &str, mode: Mode) -> Entry {
        entry_of(id, source, condition, target, (mode, &[]))
    }

    fn entry_of(
        id: &str,
        source: &str,
        condition: Option<&str>,
        target: &str,
        (mode, columns): (Mode, &[&str]),
    ) -> Entry {
        let source = endpoint(source);
        let mut options = TableOptions::default();
        options.meeting.mode = mode;
        options.columns.only = columns.iter().map(|name| (*name).to_owned()).collect();
        let job = Job {
            source: &source,
            what: Source::Table {
                relation: relation("t"),
                condition: condition.map(str::to_owned),
            },
            target: relation(target),
            options: &options,
        };
        journal("postgres", id)
            .entry(&job, &job.target, &endpoint("Server=target"))
            .unwrap()
    }

    #[test]
    fn a_copy_is_the_same_whatever_its_password_and_another_with_another_source_filter_target_or_mode() {
        let one = |source: &str, condition: Option<&str>, target: &str, mode: Mode| {
            entry("same", source, condition, target, mode).key
        };
        let key = one("Server=a;PWD=x", None, "t", Mode::Append);
        assert_eq!(one("Server=a;PWD=y", None, "t", Mode::Append), key);
        for other in [
            one("Server=b;PWD=x", None, "t", Mode::Append),
            one("Server=a;PWD=x", Some("id > 1"), "t", Mode::Append),
            one("Server=a;PWD=x", None, "u", Mode::Append),
            one("Server=a;PWD=x", None, "t", Mode::Truncate),
            entry_of("same", "Server=a", None, "t", (Mode::Append, &["id"])).key,
            entry_of("same", "Server=a", None, "t", (Mode::Append, &["id", "note"])).key,
        ] {
            assert_ne!(other, key);
        }
    }

    #[test]
    fn whatever_shard_a_copy_is_made_by_it_is_the_same_copy_and_its_row_tells() {
        let whole = entry("shards", "Server=a", None, "t", Mode::Append);
        let shard = Some("3/8".parse().unwrap());
        let part = entry("shards", "Server=a", None, "t", Mode::Append).of_shard(shard);
        assert_eq!(part.key, whole.key);
        let sql = |entry: &Entry| journal("postgres", "shards").record(entry, &Moved::default(), None, false);
        assert!(sql(&part).contains("'', '3/8', '', 'append'"), "{}", sql(&part));
        assert!(sql(&whole).contains("'', '', '', 'append'"), "{}", sql(&whole));
    }

    #[test]
    fn the_same_copy_again_in_one_process_is_meant_and_a_later_process_comes_by_in_the_same_order() {
        let key = || entry("twice", "Server=a", None, "t", Mode::Append).key;
        let first = key();
        assert_eq!(key(), first, "nothing is finished yet");
        entry("twice", "Server=a", None, "t", Mode::Append).count();
        assert_ne!(key(), first);
    }

    #[test]
    fn what_a_row_is_written_with_holds_no_secret_and_no_condition() {
        let sql = |product: &str| {
            let entry = entry(
                "it's \\",
                "Server=a;PWD=geheim",
                Some("name = 'x'"),
                "o'clock",
                Mode::Append,
            );
            journal(product, "it's \\").record(&entry, &Moved::default(), Some(&relation("t__dray_1")), false)
        };
        assert!(!sql("postgres").contains("geheim") && !sql("postgres").contains("name ="));
        assert!(
            sql("postgres").contains(r"VALUES (E'it''s \\', "),
            "{}",
            sql("postgres")
        );
        assert!(sql("mariadb").contains(r"VALUES ('it''s \\', "));
        assert!(sql("sqlite").contains(r"VALUES ('it''s \', "));
        assert!(sql("sqlite").contains("'o''clock'") && sql("sqlite").ends_with("'t__dray_1', NULL)"));
    }

    #[test]
    fn names_with_dots_are_other_names() {
        let parted = Relation::new(Some("a".to_owned()), "b");
        assert_ne!(lock_name(&parted), lock_name(&relation("a.b")));
    }

    #[test]
    fn a_table_of_another_database_is_another_copy_and_has_the_lock_of_its_own_database() {
        let here = Relation::parse("dbo.t").unwrap();
        let there = Relation::parse("other.dbo.t").unwrap();
        assert_eq!(lock_name(&there), lock_name(&here));
        assert_eq!(
            (spelled(&here), spelled(&there)),
            ("dbo.t".to_owned(), "other.dbo.t".to_owned())
        );
    }
}
