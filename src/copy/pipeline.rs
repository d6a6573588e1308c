//! Rows of one table on their way: a reader and a writer on threads of their own, and a few batches that go around
//! between them, so that the slower side sets the pace and memory does not grow.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use super::{
    conversion::Conversion,
    error::{Phase, Place, Side, TableError},
    plan::{TablePlan, sides},
};
use crate::{
    database::{Batch, Connection, Dialect, Error, Reader, Resources, WriteError, Writer},
    odbc::Interrupt,
};

/// Most bytes of values in a batch; more of them gain no speed.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Batches that go around.
const BATCHES: usize = 3;

/// How much memory one table's copy may hold, and what of it goes where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    batch_bytes: usize,
    lane_bytes: usize,
}

impl Budget {
    /// A budget of so many bytes: an eighth for the batches and their converted copy, the rest for the two lanes.
    pub fn of(bytes: usize) -> Budget {
        let batch_bytes = (bytes / 8 / (BATCHES + 1)).min(BATCH_BYTES_MAX);
        Budget {
            batch_bytes,
            lane_bytes: (bytes - batch_bytes * (BATCHES + 1)) / 2,
        }
    }
}

/// What went through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub rows: u64,
    pub bytes: u64,
}

/// Carries out a plan: everything, or nothing and an error.
///
/// `reading` stops the source's session alone, it is raised when the target's side has failed; `interrupt` stops both.
/// `reconnect` makes another
/// connection to the target, for when this one is lost and something has to be taken back.
pub(super) fn run(
    plan: &TablePlan,
    source: Connection,
    target: Connection,
    (reading, interrupt): (&Interrupt, &Interrupt),
    budget: Budget,
    reconnect: &dyn Fn() -> Result<Connection, Box<TableError>>,
) -> Result<Moved, Box<TableError>> {
    let resources = |interrupt: &Interrupt| Resources {
        memory_bytes: budget.lane_bytes,
        interrupt: interrupt.clone(),
    };
    let dialects = (source.dialect, target.dialect);
    let (from_columns, to_columns) = sides(&plan.columns);
    let at = |phase: Phase, side: Side| Place { phase, side };
    let source_failed =
        |phase: Phase| move |error: Error| TableError::database(at(phase, Side::Source), error, Some(dialects.0));
    let target_failed =
        |phase: Phase| move |error: Error| TableError::database(at(phase, Side::Target), error, Some(dialects.1));
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
    let loaded = (|| {
        writer.begin().map_err(target_failed(Phase::Prepare))?;
        for sql in &plan.steps.before {
            writer.execute(sql).map_err(target_failed(Phase::Prepare))?;
        }
        let into = plan.steps.staging.as_ref().unwrap_or(&plan.target);
        writer
            .load_into(into, &to_columns, plan.wire)
            .map_err(target_failed(Phase::Prepare))?;
        let lane = source
            .dialect
            .read_lanes()
            .iter()
            .find(|lane| lane.name() == plan.read_lane.name);
        let lane =
            lane.ok_or_else(|| TableError::refused(at(Phase::Plan, Side::Source), "copy.no_lane", "gone".to_owned()))?;
        let reader = lane
            .open(source, &plan.source, &from_columns, plan.wire, &resources(reading))
            .map_err(source_failed(Phase::Read))?;
        let moved = move_rows(plan, reader, writer.as_mut(), dialects, reading, budget)?;
        writer
            .finish()
            .map_err(|failed| target_failed(Phase::Write)(failed.error))?;
        for sql in &plan.steps.after {
            writer.execute(sql).map_err(target_failed(Phase::Commit))?;
        }
        writer.commit().map_err(target_failed(Phase::Commit))?;
        for sql in &plan.steps.after_commit {
            writer.execute(sql).map_err(target_failed(Phase::Commit))?;
        }
        Ok(moved)
    })();
    match &loaded {
        Ok(_) => clean_up(plan, writer.as_mut()),
        Err(_) => undo(plan, writer.as_mut(), reconnect),
    }
    loaded
}

/// Removes what a finished load has left over. The rows are in, so an error here is logged.
fn clean_up(plan: &TablePlan, writer: &mut dyn Writer) {
    writer.shield();
    for sql in &plan.steps.cleanup {
        if let Err(error) = writer.execute(sql) {
            tracing::warn!(event = "copy.cleanup_failed", table = %plan.target, sql, error = %error, "left over");
        }
    }
}

/// Takes back what a failed load has done. An error here changes nothing about the first one: it is logged.
fn undo(plan: &TablePlan, writer: &mut dyn Writer, reconnect: &dyn Fn() -> Result<Connection, Box<TableError>>) {
    let mut result = writer.rollback().map_err(|error| error.to_string());
    for sql in &plan.steps.undo {
        result = result.and_then(|()| writer.execute(sql).map(drop).map_err(|error| error.to_string()));
    }
    // The server has rolled a lost connection back itself; what remains is done on another one.
    if result.is_err() && !plan.steps.undo.is_empty() {
        result = reconnect().map_err(|error| error.to_string()).and_then(|connection| {
            let mut statements = plan.steps.undo.iter();
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

/// Reads on one thread, writes on this one.
fn move_rows(
    plan: &TablePlan,
    reader: Box<dyn Reader>,
    writer: &mut dyn Writer,
    dialects: (&dyn Dialect, &dyn Dialect),
    reading: &Interrupt,
    budget: Budget,
) -> Result<Moved, Box<TableError>> {
    let (empty_sender, empty) = sync_channel::<Batch>(BATCHES);
    let (full_sender, full) = sync_channel::<Result<Batch, Error>>(BATCHES);
    for _ in 0..BATCHES {
        // There is room for all of them.
        let _ = empty_sender.send(Batch::new(
            plan.columns.iter().map(|column| column.source.logical.layout()),
        ));
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("dray-read".to_owned())
            .spawn_scoped(scope, move || {
                read_all(reader, budget.batch_bytes, &empty, &full_sender)
            });
        let thread = thread.map_err(|error| {
            let place = Place {
                phase: Phase::Read,
                side: Side::Source,
            };
            TableError::refused(place, "copy.no_thread", format!("no thread to read with: {error}"))
        })?;
        let result = write_all(plan, &full, empty_sender, writer, dialects);
        // Without the channel the reader ends at its next batch; a driver that is still at work is told to stop.
        drop(full);
        while !thread.is_finished() {
            if result.is_err() {
                reading.raise();
            }
            thread::sleep(Duration::from_millis(if result.is_err() { 20 } else { 1 }));
        }
        // The reader and its connection are gone from here on: SQLite, as source and target in one file, could not
        // commit before.
        result
    })
}

/// Fills batches until the source has no more rows, the writer is gone, or something fails.
fn read_all(
    mut reader: Box<dyn Reader>,
    batch_bytes: usize,
    empty: &Receiver<Batch>,
    full: &SyncSender<Result<Batch, Error>>,
) {
    while let Ok(mut batch) = empty.recv() {
        let message = match reader.read(&mut batch, batch_bytes) {
            Ok(true) => Ok(batch),
            Ok(false) => return,
            Err(error) => Err(error),
        };
        let last = message.is_err();
        if full.send(message).is_err() || last {
            return;
        }
    }
}

/// Checks, converts and loads batches until the reader has no more.
fn write_all(
    plan: &TablePlan,
    full: &Receiver<Result<Batch, Error>>,
    empty: SyncSender<Batch>,
    writer: &mut dyn Writer,
    (source, target): (&dyn Dialect, &dyn Dialect),
) -> Result<Moved, Box<TableError>> {
    let mut moved = Moved::default();
    let mut converted = Batch::new(plan.columns.iter().map(|column| column.target.logical.layout()));
    while let Ok(message) = full.recv() {
        let batch = message.map_err(|error| {
            TableError::database(
                Place {
                    phase: Phase::Read,
                    side: Side::Source,
                },
                error,
                Some(source),
            )
        })?;
        let rows = match plan.wire {
            Some(_) => &batch,
            None => {
                convert(plan, &batch, &mut converted)?;
                &converted
            }
        };
        moved.rows += rows.rows() as u64;
        moved.bytes += rows.bytes() as u64;
        writer
            .write(rows)
            .map_err(|failed| write_failed(failed, rows, target))?;
        tracing::debug!(event = "copy.progress", table = %plan.target, rows = moved.rows, bytes = moved.bytes, "copying");
        // The reader may be done already.
        let _ = empty.send(batch);
    }
    Ok(moved)
}

fn convert(plan: &TablePlan, batch: &Batch, converted: &mut Batch) -> Result<(), Box<TableError>> {
    converted.clear();
    converted.first_row = batch.first_row;
    for (position, column) in plan.columns.iter().enumerate() {
        let conversion: &Conversion = &column.conversion;
        conversion
            .convert(&batch.columns[position], &mut converted.columns[position])
            .map_err(|refusal| {
                let place = Place {
                    phase: Phase::Convert,
                    side: Side::Target,
                };
                let mut error = TableError::refused(place, "copy.value_refused", refusal.reason);
                error.column = Some(column.target.name.clone());
                error.row = Some(batch.first_row + refusal.row as u64);
                error
            })?;
    }
    Ok(())
}

fn write_failed(failed: WriteError, batch: &Batch, target: &dyn Dialect) -> Box<TableError> {
    let place = Place {
        phase: Phase::Write,
        side: Side::Target,
    };
    let mut error = TableError::database(place, failed.error, Some(target));
    match failed.row {
        Some(row) => error.row = Some(batch.first_row + row as u64),
        None if error.row.is_none() && error.code != "copy.cancelled" => {
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
