//! Rows of one table on their way: a reader and a writer on threads of their own, and a few batches that go around
//! between them, so that the slower side sets the pace and memory does not grow.

use std::{
    cell::Cell,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use super::{
    conversion::Changed,
    error::{Phase, Place, Side, TableError},
    heap,
    journal::Finished,
    plan::{TablePlan, sides},
    ranges::{self, Readers},
    rejects::Rejects,
    sifting::Sieve,
    transaction::Beside,
    verification::{Verified, Verifier},
};
use crate::{
    database::{
        Batch, Class, Column, Connection, Dialect, Error, LogicalType, Reader, Resources, Value, WriteError, Writer,
    },
    odbc::Interrupt,
};

/// Most bytes of values in a batch; more of them gain no speed.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Most bytes of the first batch, so that the target soon has something to do; each that follows may have twice as many.
const FIRST_BATCH_BYTES: usize = 256 << 10;

/// The same where rejected rows are left out: a batch is what is tried again for one of them.
const SIFTED_BATCH_BYTES: usize = 1 << 20;

/// Batches that go around.
pub(super) const BATCHES: usize = 3;

/// How much memory one table's copy may hold, and what of it goes where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// The whole call's.
    limit_bytes: usize,
    pub batch_bytes: usize,
    lane_bytes: usize,
}

impl Budget {
    /// The part of one of so many `tables` that are copied at once: a quarter at most for its batches and their
    /// converted copy, which may take twice what their rows do; of the rest a third each for the two lanes, and for a
    /// batch with one long cell, of which there is one at a time.
    pub fn of(limit_bytes: usize, tables: usize) -> Budget {
        let bytes = limit_bytes / tables.max(1);
        let batch_bytes = (bytes / 8 / (BATCHES + 1)).min(BATCH_BYTES_MAX);
        Budget {
            limit_bytes,
            batch_bytes,
            lane_bytes: (bytes - 2 * batch_bytes * (BATCHES + 1)) / 3,
        }
    }

    /// Bytes for each of the two lanes.
    pub fn lane_bytes(self) -> usize {
        self.lane_bytes
    }

    /// The part of each of so many readers of one table, in what is the reading side's.
    fn of_readers(self, readers: usize) -> Budget {
        Budget {
            limit_bytes: self.limit_bytes,
            batch_bytes: self.batch_bytes / readers.max(1),
            lane_bytes: self.lane_bytes / readers.max(1),
        }
    }

    /// The same for a load that leaves rejected rows out, which holds one more batch.
    fn sifting(self) -> Budget {
        Budget {
            batch_bytes: (self.batch_bytes * (BATCHES + 1) / (BATCHES + 2)).min(SIFTED_BATCH_BYTES),
            ..self
        }
    }

    /// The most bytes of a batch, if no single row has more.
    pub(super) fn batch_bytes(self) -> usize {
        self.batch_bytes
    }

    /// What would help against a lack of memory: how far the limit would have to be raised for what did not fit into
    /// a lane's part.
    fn advice(self, error: &Error) -> Option<String> {
        let Error::OverMemoryLimit { bytes, limit_bytes, .. } = error else {
            return None;
        };
        let times = *bytes as f64 / (*limit_bytes).max(1) as f64;
        let enough_mib = (self.limit_bytes as f64 * times / f64::from(1 << 20)).ceil();
        Some(format!("raise `memory_limit` to at least {enough_mib} MiB"))
    }
}

/// What went through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub rows: u64,
    pub bytes: u64,
    pub changed: Changed,
}

/// Where the rows come from.
pub(super) enum Origin {
    /// A database: a connection for each range of the plan, or one.
    Database(Vec<Connection>),
    /// Somebody in this process, in rows of this dialect.
    Reader(Box<dyn Reader>, &'static dyn Dialect),
}

impl Origin {
    fn dialect(&self) -> Option<&'static dyn Dialect> {
        match self {
            Origin::Database(connections) => connections.first().map(|connection| connection.dialect),
            Origin::Reader(_, dialect) => Some(*dialect),
        }
    }

    /// Starts reading.
    fn open(
        self,
        plan: &TablePlan,
        dialect: &dyn Dialect,
        columns: &[Column],
        resources: &Resources,
    ) -> Result<Readers, Error> {
        let connections = match self {
            Origin::Database(connections) => connections,
            Origin::Reader(reader, _) => {
                return Ok(Readers {
                    readers: vec![reader],
                    one_range: None,
                });
            }
        };
        let mut lanes = dialect.read_lanes().iter();
        let lane = lanes.find(|lane| lane.name() == plan.read_lane.name);
        let lane = lane.ok_or_else(|| Error::Unsupported("the lane is gone".to_owned()))?;
        ranges::open(plan, *lane, connections, columns, resources)
    }
}

/// A finished load.
pub(super) struct Done {
    pub moved: Moved,
    /// What was found to be equal.
    pub verified: Verified,
    /// What the journal says, if there was nothing to do because of it.
    pub before: Option<Finished>,
    /// The source's connections that can be used again.
    pub sources: Vec<Connection>,
    /// Ranges that were read.
    pub ranges: usize,
    /// Why it is one though the plan has more, if so.
    pub one_range: Option<String>,
    /// Sessions that the rows were loaded on.
    pub write_sessions: usize,
    /// The target's connection, if it can be used again.
    pub target: Option<Connection>,
}

/// Carries out a plan: everything, or nothing and an error.
///
/// `reading` stops the source's sessions alone, it is raised when the target's side has failed; `interrupt` stops both.
/// `beside` is what the transaction does beside the rows. `reconnect` makes another connection to the target, for when this
/// one is lost and something has to be taken back. `progress` is told after each batch how many rows and bytes were written.
/// With `rejects`, as the plan says, rows that the target refuses are left out and written down there.
pub(super) fn run(
    plan: &TablePlan,
    origin: Origin,
    target: Connection,
    (reading, interrupt): (&Interrupt, &Interrupt),
    beside: &Beside<'_>,
    (budget, progress, mut rejects): (Budget, &dyn Fn(u64, u64), Option<&mut Rejects>),
    reconnect: &dyn Fn() -> Result<Connection, Box<TableError>>,
) -> Result<Done, Box<TableError>> {
    let resources = |interrupt: &Interrupt| Resources {
        memory_bytes: budget.lane_bytes,
        sessions: plan.write_sessions,
        interrupt: interrupt.clone(),
    };
    let at = |phase: Phase, side: Side| Place { phase, side };
    let no_source = || {
        TableError::refused(
            at(Phase::Plan, Side::Source),
            "copy.no_source",
            "no connection".to_owned(),
        )
    };
    let source_dialect = origin.dialect().ok_or_else(no_source)?;
    let dialects = (source_dialect, target.dialect);
    let (from_columns, to_columns) = sides(&plan.columns);
    let source_failed = |phase: Phase| move |error: Error| failed(at(phase, Side::Source), error, dialects.0, budget);
    let target_failed = |phase: Phase| move |error: Error| failed(at(phase, Side::Target), error, dialects.1, budget);
    let lane = target
        .dialect
        .write_lanes()
        .iter()
        .find(|lane| lane.name() == plan.write_lane.name);
    let lane =
        lane.ok_or_else(|| TableError::refused(at(Phase::Plan, Side::Target), "copy.no_lane", "gone".to_owned()))?;
    let mut writer = lane
        .open(target, &resources(interrupt))
        .map_err(target_failed(Phase::Prepare))?;
    // Once it was asked to, the server may have made the rows permanent, whatever comes back.
    let asked_to_commit = Cell::new(false);
    // Whether there is something that a rollback may leave: before, a table of the same name is somebody else's.
    let has_prepared = Cell::new(false);
    let loaded: Result<_, Box<TableError>> = (|| {
        writer.begin().map_err(target_failed(Phase::Prepare))?;
        if let Some(before) = beside.begin(writer.as_mut(), interrupt)? {
            return Ok(Err(before));
        }
        for sql in &plan.steps.before {
            writer.execute(sql).map_err(target_failed(Phase::Prepare))?;
            has_prepared.set(true);
        }
        let into = plan.steps.staging.as_ref().unwrap_or(&plan.target);
        let loaded = (into, to_columns.as_slice());
        let mut verifier = Verifier::begin(
            plan.verification,
            dialects.1,
            loaded,
            writer.as_mut(),
            budget.batch_bytes,
        )
        .map_err(target_failed(Phase::Prepare))?;
        if plan.unchecked {
            writer.leave_unchecked();
        }
        writer
            .load_into(into, &to_columns, plan.wire)
            .map_err(target_failed(Phase::Prepare))?;
        let opened = origin.open(plan, source_dialect, &from_columns, &resources(reading));
        let Readers { readers, one_range } = opened.map_err(source_failed(Phase::Read))?;
        let told = (progress, rejects.as_deref_mut());
        let count = readers.len();
        let written = &mut |rows: &Batch| verifier.take(rows);
        let moved = move_rows(
            plan,
            readers,
            (writer.as_mut(), written),
            dialects,
            reading,
            budget,
            told,
        )?;
        writer.finish().map_err(|failed| {
            let mut error = target_failed(Phase::Write)(failed.error);
            ranges::say_in_turns(&mut error, count);
            error
        })?;
        let verified = verifier.finish(moved.0.rows, writer.as_mut())?;
        if let Some(checks) = &plan.key_checks {
            checks.run(writer.as_mut(), dialects.1)?;
        }
        rejects.map_or(Ok(()), Rejects::seal)?;
        for (place, sql) in plan.steps.after.iter().enumerate() {
            beside.has_written.set(true);
            let failed = |error| {
                let mut error = target_failed(Phase::Commit)(error);
                if place < plan.shaping_statements {
                    let hint = "`schema=\"columns\"` makes the table without the indexes of its source";
                    error.hint.get_or_insert_with(|| hint.to_owned());
                }
                error
            };
            writer.execute(sql).map_err(failed)?;
        }
        beside.record(writer.as_mut(), &moved.0, plan.steps.renamed())?;
        asked_to_commit.set(true);
        writer.commit().map_err(target_failed(Phase::Commit))?;
        for sql in &plan.steps.after_commit {
            writer.execute(sql).map_err(target_failed(Phase::Commit))?;
        }
        Ok(Ok((moved, verified, count, one_range)))
    })();
    match loaded {
        Ok(Ok(((moved, sources), verified, ranges, one_range))) => {
            let write_sessions = writer.sessions();
            let is_free = clean_up(plan, beside, writer.as_mut());
            let target = is_free.then(|| writer.into_connection()).flatten();
            let before = None;
            Ok(Done {
                moved,
                verified,
                before,
                sources,
                ranges,
                one_range,
                write_sessions,
                target,
            })
        }
        Ok(Err(before)) => {
            // Nothing was done that a failure could leave.
            let _ = writer.rollback();
            Ok(Done {
                moved: Moved::default(),
                verified: Verified::default(),
                before: Some(before),
                sources: Vec::new(),
                ranges: 0,
                one_range: None,
                write_sessions: 0,
                target: None,
            })
        }
        Err(mut error) => {
            let is_lost = error.class == Some(Class::ConnectionLost);
            error.end_unknown |= asked_to_commit.get() && is_lost;
            // Where the end is not known, the journal's row and what it speaks of stay: the next attempt looks at them.
            let stays = asked_to_commit.get() && is_lost && beside.journal.is_some();
            let is_simple = plan.steps.undo.is_empty();
            if !stays && (is_simple || beside.forget(writer.as_mut(), asked_to_commit.get())) {
                let left = if has_prepared.get() {
                    plan.steps.undo.as_slice()
                } else {
                    &[]
                };
                undo(plan, left, writer.as_mut(), reconnect);
            }
            Err(error)
        }
    }
}

/// A database's error, with what would help.
pub(super) fn failed(place: Place, error: Error, dialect: &dyn Dialect, budget: Budget) -> Box<TableError> {
    let advice = budget.advice(&error);
    let mut failed = TableError::database(place, error, Some(dialect));
    failed.hint = advice.or(failed.hint);
    failed
}

/// Removes what a finished load has left over, and gives the lock back; whether the session can be used again. The rows are
/// in, so an error here is logged.
fn clean_up(plan: &TablePlan, beside: &Beside<'_>, writer: &mut dyn Writer) -> bool {
    writer.shield();
    for sql in &plan.steps.cleanup {
        if let Err(error) = writer.execute(sql) {
            tracing::warn!(event = "copy.cleanup_failed", table = %plan.target, sql, error = %error, "left over");
        }
    }
    beside.release(writer)
}

/// Takes back what a failed load has done; `left` does for what a rollback leaves. An error here changes nothing about the
/// first one: it is logged.
fn undo(
    plan: &TablePlan,
    left: &[String],
    writer: &mut dyn Writer,
    reconnect: &dyn Fn() -> Result<Connection, Box<TableError>>,
) {
    let mut result = writer.rollback().map_err(|error| error.to_string());
    for sql in left {
        result = result.and_then(|()| writer.execute(sql).map(drop).map_err(|error| error.to_string()));
    }
    // The server has rolled a lost connection back itself; what remains is done on another one.
    if result.is_err() && !left.is_empty() {
        result = reconnect().map_err(|error| error.to_string()).and_then(|connection| {
            let mut statements = left.iter();
            statements.try_for_each(|sql| {
                connection
                    .session
                    .execute(sql)
                    .map(drop)
                    .map_err(|error| error.to_string())
            })
        });
    }
    if let Err(error) = result {
        tracing::warn!(event = "copy.undo_failed", table = %plan.target, error, "could not undo a failed load");
    }
}

/// Is shown every row that was written, as it went to the target.
pub(super) type Written<'a> = dyn FnMut(&Batch) + 'a;

/// Reads on a thread for each reader, writes on this one. Gives the source's connections back as well that can be used again.
fn move_rows(
    plan: &TablePlan,
    readers: Vec<Box<dyn Reader>>,
    (writer, written): (&mut dyn Writer, &mut Written<'_>),
    dialects: (&dyn Dialect, &dyn Dialect),
    reading: &Interrupt,
    budget: Budget,
    told: (&dyn Fn(u64, u64), Option<&mut Rejects>),
) -> Result<(Moved, Vec<Connection>), Box<TableError>> {
    let budget = budget.of_readers(readers.len());
    let budget = match told.1 {
        Some(_) => budget.sifting(),
        None => budget,
    };
    let (full_sender, full) = sync_channel::<Full>(BATCHES * readers.len());
    thread::scope(|scope| {
        let (mut threads, mut empties) = (Vec::new(), Vec::new());
        let mut result = Ok(Moved::default());
        for (range, reader) in readers.into_iter().enumerate() {
            let (empty_sender, empty) = sync_channel::<Batch>(BATCHES);
            for _ in 0..BATCHES {
                // There is room for all of them.
                let _ = empty_sender.send(Batch::new(
                    plan.columns.iter().map(|column| column.source.logical.layout()),
                ));
            }
            let full = full_sender.clone();
            let thread = thread::Builder::new()
                .name("dray-read".to_owned())
                .spawn_scoped(scope, move || {
                    read_all(reader, budget.batch_bytes, &empty, &|batch| {
                        full.send((range, batch)).ok()
                    })
                });
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    let place = Place {
                        phase: Phase::Read,
                        side: Side::Source,
                    };
                    let message = format!("no thread to read with: {error}");
                    result = Err(TableError::refused(place, "copy.no_thread", message));
                    break;
                }
            }
            empties.push(empty_sender);
        }
        drop(full_sender);
        if result.is_ok() {
            result = write_all(plan, &full, empties, (writer, written), dialects, budget, told);
        }
        // Without the channel a reader ends at its next batch; a driver that is still at work is told to stop.
        drop(full);
        while result.is_err() && !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            reading.raise();
            thread::sleep(Duration::from_millis(20));
        }
        // The readers and their statements are gone from here on: SQLite, as source and target in one file, could not
        // commit before.
        let join = |thread: thread::ScopedJoinHandle<'_, Option<Connection>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let sources = threads.into_iter().filter_map(join).collect();
        result.map(|moved| (moved, sources))
    })
}

/// A batch on its way, or why there is none, and the reader that it is from.
type Full = (usize, Result<Batch, Error>);

/// Fills batches until the source has no more rows, the writer is gone, or something fails. Gives back the source's
/// connection if it can be used again.
pub(super) fn read_all(
    mut reader: Box<dyn Reader>,
    batch_bytes: usize,
    empty: &Receiver<Batch>,
    send: &dyn Fn(Result<Batch, Error>) -> Option<()>,
) -> Option<Connection> {
    let mut at_hand: Vec<Batch> = Vec::new();
    let mut bytes = FIRST_BATCH_BYTES.min(batch_bytes);
    loop {
        let mut batch = match at_hand.pop() {
            Some(batch) => batch,
            None => empty.recv().ok()?,
        };
        let message = match reader.read(&mut batch, bytes) {
            Ok(true) => Ok(batch),
            Ok(false) => return reader.into_connection(),
            Err(error) => Err(error),
        };
        bytes = (2 * bytes).min(batch_bytes);
        let last = message.is_err();
        let is_long = message.as_ref().is_ok_and(|batch| batch.bytes() > 2 * batch_bytes);
        if is_long {
            // What reading it took, beside the batch itself, is not to be held while it is written.
            heap::give_back();
        }
        send(message)?;
        if last {
            return None;
        }
        // The next cell may be as long as the one that has blown this batch up: it waits until this one is written.
        while is_long && at_hand.len() < BATCHES {
            at_hand.push(empty.recv().ok()?);
        }
    }
}

/// Checks, converts and loads batches until the readers have no more.
fn write_all(
    plan: &TablePlan,
    full: &Receiver<Full>,
    empties: Vec<SyncSender<Batch>>,
    (writer, written): (&mut dyn Writer, &mut Written<'_>),
    (source, target): (&dyn Dialect, &dyn Dialect),
    budget: Budget,
    (progress, rejects): (&dyn Fn(u64, u64), Option<&mut Rejects>),
) -> Result<Moved, Box<TableError>> {
    let mut sieve = rejects.map(|rejects| Sieve::new(plan, target, budget, rejects));
    let mut moved = Moved::default();
    let mut converted = Batch::new(plan.columns.iter().map(|column| column.target.logical.layout()));
    let ranges = empties.len();
    while let Ok((range, message)) = full.recv() {
        let counted = |mut error: Box<TableError>| {
            ranges::say_where(&mut error, range, ranges);
            error
        };
        let mut batch = message.map_err(|error| {
            let place = Place {
                phase: Phase::Read,
                side: Side::Source,
            };
            counted(failed(place, error, source, budget))
        })?;
        let rows = match (&mut sieve, plan.wire) {
            (Some(sieve), _) => {
                let loaded = sieve.load(&mut batch, &mut converted, (writer, written), &mut moved);
                loaded.map_err(counted)?;
                &converted
            }
            (None, Some(_)) => &batch,
            (None, None) => {
                convert(plan, &mut batch, &mut converted, &mut moved.changed).map_err(counted)?;
                &converted
            }
        };
        let is_long = rows.bytes() > 2 * budget.batch_bytes;
        if sieve.is_none() {
            moved.rows += rows.rows() as u64;
            moved.bytes += rows.bytes() as u64;
            writer.write(rows).map_err(|failed| {
                let is_within = failed.row.is_some();
                let mut error = write_failed(plan, failed, rows, target, budget);
                match is_within {
                    true => ranges::say_where(&mut error, range, ranges),
                    false => ranges::say_in_turns(&mut error, ranges),
                }
                error
            })?;
            written(rows);
        }
        progress(moved.rows, moved.bytes);
        converted.recycle(budget.batch_bytes);
        batch.recycle(budget.batch_bytes);
        if is_long {
            heap::give_back();
        }
        // The reader may be done already.
        let _ = empties[range].send(batch);
    }
    Ok(moved)
}

/// Carries the rows over to `converted`; columns that stay as they are take their memory along.
pub(super) fn convert(
    plan: &TablePlan,
    batch: &mut Batch,
    converted: &mut Batch,
    changed: &mut Changed,
) -> Result<(), Box<TableError>> {
    converted.clear();
    converted.first_row = batch.first_row;
    for (position, column) in plan.columns.iter().enumerate() {
        let from = &mut batch.columns[position];
        let result = column.conversion.convert(from, &mut converted.columns[position]);
        let counts = result.map_err(|refusal| {
            let place = Place {
                phase: Phase::Convert,
                side: Side::Target,
            };
            let mut error = TableError::refused(place, "copy.value_refused", refusal.reason);
            error.column = Some(column.target.name.clone());
            error.row = Some(batch.first_row + refusal.row as u64);
            // Columns before this one have left the batch.
            error.key = key(plan, |key| match key < position {
                true => converted.columns[key].value(refusal.row),
                false => batch.columns[key].value(refusal.row),
            });
            error.hint = refusal.hint;
            error
        })?;
        changed.add(counts);
    }
    Ok(())
}

/// The places of the columns that tell rows apart: the primary key of the source, else of the target, else what a merge goes
/// by; none where there is no key.
pub(super) fn key_columns(plan: &TablePlan) -> Vec<usize> {
    let by = |position: &dyn Fn(usize) -> Option<u16>| {
        let mut places: Vec<(u16, usize)> = (0..plan.columns.len())
            .filter_map(|column| Some((position(column)?, column)))
            .collect();
        places.sort_unstable();
        places.into_iter().map(|(_, column)| column).collect::<Vec<_>>()
    };
    let of_source = by(&|column| plan.columns[column].source.key_position);
    if !of_source.is_empty() {
        return of_source;
    }
    // A query has none.
    let of_target = by(&|column| plan.columns[column].target.key_position);
    match &plan.key_checks {
        Some(checks) if of_target.is_empty() => {
            let place = |name: &String| plan.columns.iter().position(|column| column.target.name == *name);
            checks.key().iter().filter_map(place).collect()
        }
        _ => of_target,
    }
}

/// The row's key, as far as it may be shown: see [`TableError::key`].
fn key<'a>(plan: &TablePlan, value: impl Fn(usize) -> Value<'a>) -> Option<String> {
    let parts: Vec<String> = key_columns(plan)
        .into_iter()
        .filter_map(|column| {
            let spelled = match (plan.columns[column].source.logical, value(column)) {
                (_, Value::I64(value)) => value.to_string(),
                (_, Value::Decimal(digits)) => digits.to_owned(),
                (_, Value::Date(date)) => date.to_string(),
                (_, Value::Timestamp(timestamp)) => timestamp.to_string(),
                (_, Value::Instant(instant)) => instant.to_string(),
                (LogicalType::Uuid, Value::Text(uuid)) => uuid.to_owned(),
                _ => return None,
            };
            Some(format!("{}={spelled}", plan.columns[column].source.name))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn write_failed(
    plan: &TablePlan,
    failed_write: WriteError,
    batch: &Batch,
    target: &dyn Dialect,
    budget: Budget,
) -> Box<TableError> {
    let place = Place {
        phase: Phase::Write,
        side: Side::Target,
    };
    let mut error = failed(place, failed_write.error, target, budget);
    if error.code == "copy.value_unreadable" {
        // It is the lane in that could not spell the value for its product.
        error.code = "copy.value_refused".to_owned();
    }
    match failed_write.row {
        Some(row) => {
            error.row = Some(batch.first_row + row as u64);
            if plan.wire.is_none() && row < batch.rows() {
                error.key = key(plan, |column| batch.columns[column].value(row));
            }
        }
        // The error names a row of an earlier batch, or is none of a row.
        None if error.row.is_some() || error.code == "database.connection_lost" => {}
        None if error.code != "copy.cancelled" => {
            let last = batch.first_row + batch.rows() as u64 - 1;
            error.message.push_str(&format!(
                "; the driver does not say which of rows {} to {last}",
                batch.first_row
            ));
        }
        None => {}
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_its_parts_keep_within_it() {
        for (limit, tables) in [(256 << 20, 1), (256 << 20, 2), (256 << 20, 8), (32 << 20, 1)] {
            let budget = Budget::of(limit, tables);
            let whole = 3 * budget.lane_bytes + 2 * (BATCHES + 1) * budget.batch_bytes;
            assert!(whole <= limit / tables, "{budget:?}");
            assert!(budget.lane_bytes >= 8 << 20, "{budget:?}");
        }
    }

    #[test]
    fn a_cell_that_does_not_fit_names_the_limit_that_would_do() {
        let budget = Budget::of(256 << 20, 1);
        let error = Error::OverMemoryLimit {
            column: None,
            row: None,
            bytes: 2 * budget.lane_bytes,
            limit_bytes: budget.lane_bytes,
        };
        assert_eq!(
            budget.advice(&error).as_deref(),
            Some("raise `memory_limit` to at least 512 MiB")
        );
        assert_eq!(budget.advice(&Error::cancelled()), None);
    }
}
