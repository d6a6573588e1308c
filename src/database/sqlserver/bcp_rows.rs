//! The rows of a bulk copy, on a thread of their own.
//!
//! Nothing ends a bulk copy function that waits for the server, be it for a lock: the driver takes no cancel for it. So
//! whoever is told to stop leaves the thread behind, which then closes the connection as soon as the driver lets go.

#![allow(unsafe_code)]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    super::{Batch, Error, WriteError},
    bcp::BulkCopy,
    bcp_cells::Cells,
    bcp_types::Place,
};
use crate::odbc::Interrupt;

/// How long the driver may take to let go after the work was told to stop.
const PATIENCE: Duration = Duration::from_millis(300);

/// How often is looked whether the work was told to stop.
const LOOK: Duration = Duration::from_millis(20);

/// Memory for a value that lies aside which is kept from one to the next.
const ASIDE_BYTES_MAX: usize = 1 << 20;

/// Where the values of a batch's column go.
pub(super) struct Target {
    /// The column's name.
    pub name: String,
    /// The column's place in a batch.
    pub source: usize,
    /// The column's place among the bindings.
    pub place: usize,
    /// What a value is turned into.
    pub cells: Cells,
    /// Where it lies when it is sent.
    pub lies: Place,
}

/// Whose turn it is: the thread's own work, the driver's, or nobody's any more.
#[derive(Default)]
struct Turn(AtomicU8);

const OWN: u8 = 0;
const DRIVER: u8 = 1;
const ABANDONED: u8 = 2;

impl Turn {
    /// Makes a call of the driver; `None` if the thread was abandoned meanwhile.
    fn in_driver<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        self.0.store(DRIVER, Ordering::Release);
        let result = call();
        let back = self
            .0
            .compare_exchange(DRIVER, OWN, Ordering::AcqRel, Ordering::Acquire);
        back.is_ok().then_some(result)
    }

    /// Leaves the thread behind, if the driver has it: it will not touch a batch again.
    fn abandon(&self) -> bool {
        let taken = self
            .0
            .compare_exchange(DRIVER, ABANDONED, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok()
    }
}

/// A batch that its owner keeps until the thread has answered, or is abandoned.
struct Lent(*const Batch);

// SAFETY: a batch is plain data, and is only read.
unsafe impl Send for Lent {}

enum Task {
    Write(Lent),
    Finish,
}

/// A bulk copy that is under way.
pub(super) struct Load {
    tasks: Option<Sender<Task>>,
    answers: Receiver<Result<(), WriteError>>,
    turn: Arc<Turn>,
    thread: JoinHandle<()>,
    interrupt: Interrupt,
    left_behind: bool,
}

impl Load {
    /// Starts the thread.
    pub(super) fn start(copy: BulkCopy, targets: Vec<Target>, interrupt: Interrupt) -> Result<Load, Error> {
        let (tasks, of_thread) = channel::<Task>();
        let (answer, answers) = channel();
        let turn = Arc::new(Turn::default());
        let mut rows = Rows {
            copy: Some(copy),
            targets,
            turn: Arc::clone(&turn),
            interrupt: interrupt.clone(),
            rows_written: 0,
            scratch: Vec::new(),
        };
        let work = move || {
            while let Ok(task) = of_thread.recv() {
                let result = match task {
                    // SAFETY: whoever lent it waits for the answer, or abandons the thread, which then reads it no more.
                    Task::Write(Lent(batch)) => rows.write(unsafe { &*batch }),
                    Task::Finish => rows.finish(),
                };
                let Some(result) = result else { break };
                // Nobody waits any more, and the bulk copy ends.
                if answer.send(result).is_err() {
                    break;
                }
            }
            rows.end();
        };
        let thread = thread::Builder::new().name("dray-bcp".to_owned()).spawn(work);
        Ok(Load {
            tasks: Some(tasks),
            answers,
            turn,
            thread: thread.map_err(|error| Error::Unsupported(format!("no thread to load with: {error}")))?,
            interrupt,
            left_behind: false,
        })
    }

    /// Sends the rows of a batch.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        self.ask(Task::Write(Lent(batch)))
    }

    /// Ends the bulk copy: every row is at the server.
    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        self.ask(Task::Finish)
    }

    /// Ends the thread, whatever has been sent; false if the driver does not let go of it and it was left behind.
    pub(super) fn end(mut self) -> bool {
        self.tasks = None;
        let began = Instant::now();
        while !self.thread.is_finished() {
            let stopped = self.interrupt.is_raised() && began.elapsed() > PATIENCE;
            if self.left_behind || (stopped && self.turn.abandon()) {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        // It panics by a fault of dray alone, and the connection is closed then.
        self.thread.join().is_ok() && !self.left_behind
    }

    fn ask(&mut self, task: Task) -> Result<(), WriteError> {
        let gone = || Error::Unsupported("the thread that loads rows has ended by itself".to_owned());
        self.tasks
            .as_ref()
            .map(|tasks| tasks.send(task))
            .ok_or_else(gone)?
            .map_err(|_| gone())?;
        let mut told = None;
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return Err(gone().into()),
                Err(RecvTimeoutError::Timeout) if self.interrupt.is_raised() => {
                    let since: &mut Instant = told.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE && self.turn.abandon() {
                        self.left_behind = true;
                        return Err(Error::cancelled().into());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// What the thread has.
struct Rows {
    copy: Option<BulkCopy>,
    targets: Vec<Target>,
    turn: Arc<Turn>,
    interrupt: Interrupt,
    rows_written: u64,
    scratch: Vec<u8>,
}

/// Why a row was not sent.
enum Failure {
    /// A value of the column at this place was refused here.
    Value(usize, String),
    /// The driver or the server said no.
    Driver(Error),
    /// Nobody waits for the row any more.
    Abandoned,
}

impl Rows {
    /// Sends the rows of a batch; `None` if nobody waits any more.
    fn write(&mut self, batch: &Batch) -> Option<Result<(), WriteError>> {
        for row in 0..batch.rows() {
            if self.interrupt.is_raised() {
                return Some(Err(Error::cancelled().into()));
            }
            match self.write_row(batch, row) {
                Ok(()) => {}
                Err(Failure::Abandoned) => return None,
                Err(failure) => return Some(Err(self.placed(failure, row))),
            }
        }
        self.rows_written += batch.rows() as u64;
        Some(Ok(()))
    }

    fn write_row(&mut self, batch: &Batch, row: usize) -> Result<(), Failure> {
        let Rows {
            copy: Some(copy),
            targets,
            turn,
            scratch,
            ..
        } = self
        else {
            return Err(Failure::Driver(Error::Unsupported(
                "a batch came after the last".to_owned(),
            )));
        };
        let driver = |result: Option<Result<(), Error>>| match result {
            Some(result) => result.map_err(Failure::Driver),
            None => Err(Failure::Abandoned),
        };
        let mut in_pieces = false;
        for (number, target) in targets.iter().enumerate() {
            let column = &batch.columns[target.source];
            match target.lies {
                Place::Row { .. } if column.nulls[row] => copy.set_null(target.place),
                Place::Row { .. } => {
                    let written = target.cells.write(&column.values, row, copy.value(target.place));
                    copy.set_length(target.place, written.map_err(|reason| Failure::Value(number, reason))?);
                }
                Place::Aside => {
                    let value = copy.aside(target.place);
                    value.clear();
                    value.shrink_to(ASIDE_BYTES_MAX);
                    if !column.nulls[row] {
                        let add = |piece: &[u8]| {
                            value.extend_from_slice(piece);
                            Ok::<(), Infallible>(())
                        };
                        let added = target.cells.pieces(&column.values, row, scratch, add);
                        let Ok(()) = added.map_err(|reason| Failure::Value(number, reason))?;
                    }
                    driver(turn.in_driver(|| copy.point(target.place, column.nulls[row])))?;
                }
                Place::Pieces => in_pieces = true,
            }
        }
        driver(turn.in_driver(|| copy.send_row()))?;
        if !in_pieces {
            return Ok(());
        }
        for (number, target) in targets.iter().enumerate() {
            if target.lies != Place::Pieces {
                continue;
            }
            let column = &batch.columns[target.source];
            if column.nulls[row] {
                driver(turn.in_driver(|| copy.send_null()))?;
                continue;
            }
            let send = |piece: &[u8]| driver(turn.in_driver(|| copy.send_piece(piece)));
            let sent = target.cells.pieces(&column.values, row, scratch, send);
            sent.map_err(|reason| Failure::Value(number, reason))??;
            driver(turn.in_driver(|| copy.send_piece(&[])))?;
        }
        Ok(())
    }

    /// Ends the bulk copy; `None` if nobody waits any more.
    fn finish(&mut self) -> Option<Result<(), WriteError>> {
        let copy = self.copy.take()?;
        let rows = match self.turn.in_driver(|| copy.finish())? {
            Ok(rows) => rows,
            Err(error) => return Some(Err(error.into())),
        };
        // What the driver has sent.
        if rows == self.rows_written as u32 {
            return Some(Ok(()));
        }
        let text = format!(
            "the driver sent {rows} of {} rows, and named no error",
            self.rows_written
        );
        Some(Err(Error::Unsupported(text).into()))
    }

    /// Ends the bulk copy, whatever has been sent.
    fn end(&mut self) {
        let copy = self.copy.take();
        self.turn.in_driver(|| drop(copy));
    }

    /// The error with the row that it is about, where that is known: the server takes rows in while others are still on
    /// their way.
    fn placed(&self, failure: Failure, row: usize) -> WriteError {
        let number = self.rows_written + row as u64 + 1;
        let (column, error) = match failure {
            Failure::Value(column, reason) => {
                let name = self.targets.get(column).map(|target| target.name.clone());
                (name, Error::Unsupported(reason))
            }
            // The driver's own errors have no number of the server's, and are about the row that it was given.
            Failure::Driver(Error::Client { function, diagnostic })
                if diagnostic.native == 0 && diagnostic.sqlstate.starts_with("22") =>
            {
                (None, Error::Client { function, diagnostic })
            }
            Failure::Driver(error) => return error.into(),
            Failure::Abandoned => return Error::cancelled().into(),
        };
        WriteError {
            error: Error::Row {
                row: number,
                column,
                error: Box::new(error),
            },
            row: Some(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_thread_that_is_in_the_driver_is_left_behind() {
        let turn = Turn::default();
        assert!(!turn.abandon());
        assert_eq!(turn.in_driver(|| 1), Some(1));
        assert!(!turn.abandon());
        assert_eq!(turn.in_driver(|| turn.abandon()), None);
        assert!(!turn.abandon());
    }
}
