//! Two databases compared without copying: for each table whether it is the same, and the first keys whose rows are not.
//!
//! What is compared is what a copy of the same request would leave behind: values of the source in the form of the
//! target's columns. Knows no product; what is asked of one is a method of its dialect or a read lane.

mod key;
mod scanner;
mod search;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
    time::Instant,
};

use serde::Serialize;
use serde_json::{Map, Value};

use self::scanner::{Layout, Scanner};
use super::{
    call::{milliseconds, table_name},
    column_selection::named_columns,
    error::{Phase, Place, Side, TableError},
    job::{Job, refused},
    pipeline::Budget,
    plan::{self, ColumnPlan},
    pool::Pool,
    request::Request,
    run::{Begun, begin},
    shape::Making,
};
use crate::{
    database::{Column, Connection, Mode, Purpose, Source, Table},
    odbc::{DriverSearch, Interrupt},
};

/// How a row's key differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// The target has no row of this key.
    Missing,
    /// The source has none.
    Extra,
    /// Both have one, with other values.
    Different,
}

/// A key whose rows are not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// How they differ.
    pub kind: DifferenceKind,
    /// The key's columns, by their names in the target, with their values as text.
    pub key: Map<String, Value>,
}

/// One table's comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ComparedTable {
    /// The source's name as it was given; its connection string is masked.
    pub source: String,
    /// The source table, or `query`.
    pub table: String,
    /// The table in the target.
    pub target: String,
    /// Whether both sides have the same rows.
    pub equal: bool,
    /// Rows of the source.
    pub source_rows: u64,
    /// Rows of the target.
    pub target_rows: u64,
    /// The checksum of the source's rows, in hexadecimal digits.
    pub source_checksum: String,
    /// The checksum of the target's rows.
    pub target_checksum: String,
    /// The columns that tell rows apart, by their names in the target; none if there is no key.
    pub key: Vec<String>,
    /// The first keys that differ, ten at most, in their order.
    pub differences: Vec<Difference>,
    /// What else is to be known, each in a sentence.
    pub notes: Vec<String>,
    /// Rows that were read, on both sides together; those of which the key alone was read do not count.
    pub rows_read: u64,
    /// Milliseconds that it took.
    pub duration_ms: u64,
    /// Why it could not be compared, if so.
    pub error: Option<Box<TableError>>,
}

/// What a request's tables came to, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Whether all of them are the same.
    pub equal: bool,
    /// One entry a table.
    pub tables: Vec<ComparedTable>,
    /// Milliseconds of the whole call.
    pub duration_ms: u64,
}

/// Compares the tables that a request names, and changes nothing. Rows are told apart by the key of a mode that has one, else
/// by the source's primary key, else the target's.
///
/// # Errors
/// Those of [`super::run()`]. A table that cannot be compared has its error in its entry.
pub fn compare(request: &Request, search: &DriverSearch, interrupt: &Interrupt) -> Result<Comparison, Box<TableError>> {
    let started = Instant::now();
    let pool = Pool::new(search, request.patience);
    let Begun {
        jobs,
        unlisted,
        target,
        at_once,
        ..
    } = begin(request, &pool, interrupt)?;
    // It was made to write.
    drop(target);
    let call = Call {
        request,
        pool: &pool,
        interrupt,
        budget: Budget::of(request.memory_limit_bytes, at_once),
    };
    let next = AtomicUsize::new(0);
    let mut tables: Vec<Option<ComparedTable>> = jobs.iter().map(|_| None).collect();
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        for number in 0..at_once {
            let (sender, jobs, next, call) = (sender.clone(), &jobs, &next, &call);
            let work = move || {
                while let Some((index, job)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(index)
                        .map(|job| (index, job))
                        .filter(|_| !interrupt.is_raised())
                } {
                    // The receiver lives as long as this scope.
                    let _ = sender.send((index, call.compare_table(job)));
                }
            };
            let thread = thread::Builder::new().name("dray-table".to_owned());
            match thread.spawn_scoped(scope, work) {
                Ok(_) => {}
                // The others do it all.
                Err(error) if number > 0 => tracing::warn!(event = "copy.no_thread", error = %error, "fewer at once"),
                Err(error) => {
                    let message = format!("no thread to compare with: {error}");
                    return Err(refused(Side::Target, "copy.no_thread", message));
                }
            }
        }
        drop(sender);
        for (index, table) in receiver {
            log(&table);
            tables[index] = Some(table);
        }
        Ok(())
    })?;
    let unlisted = unlisted.into_iter().map(|part| ComparedTable {
        source: part.source,
        table: part.table,
        target: part.target,
        error: Some(part.error),
        ..ComparedTable::default()
    });
    let all = jobs.len() + unlisted.len();
    let tables: Vec<ComparedTable> = tables.into_iter().flatten().chain(unlisted).collect();
    Ok(Comparison {
        equal: tables.len() == all && tables.iter().all(|table| table.equal),
        tables,
        duration_ms: milliseconds(started.elapsed()),
    })
}

/// What the tables of a call have in common.
struct Call<'a> {
    request: &'a Request,
    pool: &'a Pool<'a>,
    interrupt: &'a Interrupt,
    budget: Budget,
}

impl Call<'_> {
    fn compare_table(&self, job: &Job<'_>) -> ComparedTable {
        let started = Instant::now();
        let mut compared = ComparedTable {
            source: job.source.label.clone(),
            table: table_name(job),
            target: job.target.to_string(),
            ..ComparedTable::default()
        };
        if let Err(error) = self.try_table(job, &mut compared) {
            compared.equal = false;
            compared.error = Some(error.of(&compared.table, &compared.target));
        }
        compared.duration_ms = milliseconds(started.elapsed());
        compared
    }

    fn try_table(&self, job: &Job<'_>, compared: &mut ComparedTable) -> Result<(), Box<TableError>> {
        let interrupts = [self.interrupt.child(), self.interrupt.child()];
        let source = self.pool.take(job.source, Purpose::Read, &interrupts[0])?;
        let target = self.pool.take(&self.request.target, Purpose::Read, &interrupts[1])?;
        let layout = Arc::new(self.layout(job, (&source, &target), &mut compared.notes)?);
        let names = layout
            .key
            .iter()
            .map(|position| layout.columns[*position].target.name.clone());
        compared.key = names.collect();
        if compared.key.is_empty() {
            compared
                .notes
                .push("the table has no key, so it is compared as a whole, and no keys can be named".to_owned());
        }
        let [own, others] = interrupts;
        let (lanes, budget) = (self.request.lanes, self.budget);
        let what = Source::Table {
            relation: job.target.clone(),
            condition: None,
        };
        let mut sides = [
            Scanner::new(
                Side::Source,
                layout.clone(),
                (job.source, self.pool),
                (source, job.what.clone()),
                (lanes, budget, own),
            ),
            Scanner::new(
                Side::Target,
                layout.clone(),
                (&self.request.target, self.pool),
                (target, what),
                (lanes, budget, others),
            ),
        ];
        let found = search::compare(&mut sides, !layout.key.is_empty())?;
        let [source, target] = found.sums;
        compared.equal = source == target;
        (compared.source_rows, compared.target_rows) = (source.rows, target.rows);
        (compared.source_checksum, compared.target_checksum) = (source.to_string(), target.to_string());
        let difference = |(key, kind): &(key::Key, DifferenceKind)| Difference::of(&compared.key, key, *kind);
        compared.differences = found.differences.iter().map(difference).collect();
        if found.has_changed {
            let note = "the table has changed while it was compared";
            compared
                .notes
                .extend((!compared.key.is_empty()).then(|| note.to_owned()));
        }
        compared.rows_read = sides.iter().map(|side| side.rows_read).sum();
        sides.into_iter().for_each(Scanner::end);
        Ok(())
    }

    /// What the columns are, and by which of them rows are told apart.
    fn layout(
        &self,
        job: &Job<'_>,
        (source, target): (&Connection, &Connection),
        notes: &mut Vec<String>,
    ) -> Result<Layout, Box<TableError>> {
        let at = |side: Side| Place {
            phase: Phase::Plan,
            side,
        };
        let missing = |side: Side, table: String| {
            TableError::refused(at(side), "copy.no_such_table", format!("there is no table `{table}`"))
        };
        let source_failed = |error| TableError::database(at(Side::Source), error, Some(source.dialect));
        let target_failed = |error| TableError::database(at(Side::Target), error, Some(target.dialect));
        let columns = match &job.what {
            Source::Table { relation, .. } => {
                let found = source.dialect.table(&source.session, relation).map_err(source_failed)?;
                found
                    .ok_or_else(|| missing(Side::Source, relation.to_string()))?
                    .columns
            }
            Source::Query(sql) => source
                .dialect
                .query_columns(&source.session, sql)
                .map_err(source_failed)?,
        };
        let found = target
            .dialect
            .table(&target.session, &job.target)
            .map_err(target_failed)?;
        let mut existing = found.ok_or_else(|| missing(Side::Target, job.target.to_string()))?;
        // Nothing is written: that the database computes a column, or cannot take a load back, does not matter.
        existing = Table {
            columns: existing
                .columns
                .into_iter()
                .map(|column| Column {
                    generated: false,
                    ..column
                })
                .collect(),
            ..Table::default()
        };
        let columns = named_columns(columns, &job.options.columns)?;
        let (plans, _, _) = plan::columns_and_steps(
            source.dialect,
            &columns,
            target.dialect,
            (&job.target, Some(&existing)),
            (Mode::Append, self.request.choices, false),
            &job.target,
            &Making::columns_alone,
        )
        .map_err(|mut error| {
            // `add_columns` helps a copy alone.
            let lacks = error.hint.is_some() && error.code == "copy.columns_refused";
            error.hint = match lacks {
                true => Some("`exclude_columns` leaves them out".to_owned()),
                false => error.hint,
            };
            error
        })?;
        if let Some(reason) = plans.iter().find_map(|plan| {
            let reason = target.dialect.unreadable(&plan.target)?;
            Some(format!("column `{}`: {reason}", plan.target.name))
        }) {
            return Err(TableError::refused(at(Side::Target), "copy.columns_refused", reason));
        }
        let is_compared = |column: &&Column| plans.iter().any(|plan| plan.target.name == column.name);
        let others: Vec<String> = (existing.columns.iter().filter(|column| !is_compared(column)))
            .map(|column| format!("`{}`", column.name))
            .collect();
        if !others.is_empty() {
            notes.push(format!(
                "columns of the target alone are not compared: {}",
                others.join(", ")
            ));
        }
        // The locks of these questions are not to be held.
        source.session.rollback().map_err(|error| source_failed(error.into()))?;
        target.session.rollback().map_err(|error| target_failed(error.into()))?;
        Ok(Layout {
            key: key_of(job, &plans, &existing)?,
            columns: plans,
        })
    }
}

/// The places of the key's columns: those that were asked for, else of the source's primary key, else of the target's.
fn key_of(job: &Job<'_>, plans: &[ColumnPlan], existing: &Table) -> Result<Vec<usize>, Box<TableError>> {
    let named = |name: &String| {
        let lower = name.to_lowercase();
        let is =
            |plan: &ColumnPlan| plan.target.name.to_lowercase() == lower || plan.source.name.to_lowercase() == lower;
        plans.iter().position(is).ok_or_else(|| {
            let message = format!("the key's column `{name}` is not among the columns that are compared");
            refused(Side::Target, "copy.no_key", message)
        })
    };
    if let Some(merge) = job.options.meeting.merge.as_ref().filter(|merge| !merge.key.is_empty()) {
        return merge.key.iter().map(named).collect();
    }
    let primary = |column: &dyn Fn(usize) -> Option<u16>| {
        let mut places: Vec<(u16, usize)> = (0..plans.len())
            .filter_map(|place| Some((column(place)?, place)))
            .collect();
        places.sort_unstable();
        places.into_iter().map(|(_, place)| place).collect::<Vec<usize>>()
    };
    let of_source = primary(&|place| plans[place].source.key_position);
    if !of_source.is_empty() {
        return Ok(of_source);
    }
    let of_target = primary(&|place| plans[place].target.key_position);
    // One of its columns may be none of the source's.
    let whole = existing
        .columns
        .iter()
        .filter(|column| column.key_position.is_some())
        .count();
    Ok(if of_target.len() == whole {
        of_target
    } else {
        Vec::new()
    })
}

fn log(table: &ComparedTable) {
    match &table.error {
        None => tracing::info!(
            event = "verify.table",
            source = table.source,
            table = table.table,
            target = table.target,
            equal = table.equal,
            source_rows = table.source_rows,
            target_rows = table.target_rows,
            duration_ms = table.duration_ms,
            "table compared"
        ),
        Some(error) => tracing::error!(
            event = "verify.table_failed",
            source = table.source,
            table = table.table,
            target = table.target,
            code = error.code,
            hint = error.hint,
            duration_ms = table.duration_ms,
            "cannot compare `{}` with `{}`: {}",
            table.table,
            table.target,
            error.message
        ),
    }
}
