//! What a table's load does at the target beside its rows: the lock on the table, and the journal's row.
//!
//! Knows statements and their order within the load (`pipeline`), and nothing of rows, readers or plans.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use super::{
    error::{Phase, Place, Side, TableError},
    journal::{self, Entry, Finished, Journal, MarkMove},
    pipeline::Moved,
    retry,
};
use crate::{
    database::{Class, Dialect, Error, Relation, TableLock, Writer},
    odbc::Interrupt,
};

/// How long the lock is waited for: the session of a run that was killed lives on until its server looks at it.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// The wait between two looks at the lock.
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// The code of a table that another run is writing.
pub(super) const IN_USE: &str = "copy.target_in_use";

const PREPARE: Place = Place {
    phase: Phase::Prepare,
    side: Side::Target,
};
const COMMIT: Place = Place {
    phase: Phase::Commit,
    side: Side::Target,
};

/// What stands beside a table's rows.
pub(super) struct Beside<'a> {
    /// The target's product.
    pub dialect: &'static dyn Dialect,
    /// The target, with its schema.
    pub target: &'a Relation,
    /// The lock on the target; `None` where its product has none.
    pub lock: Option<TableLock>,
    /// The most that it is waited for.
    pub patience: Duration,
    /// Where it is noted that the table was copied.
    pub journal: Option<(&'a Journal, &'a Entry)>,
    /// Whether an attempt before this one may have finished it, or has left something.
    pub look_first: bool,
    /// Tables that killed loads of this target have left.
    pub leftovers: &'a [Relation],
    /// The mark that moves with the rows.
    pub mark: Option<(&'a Journal, MarkMove)>,
    /// Whether the load makes the table.
    pub made: bool,
    /// Whether the transaction has written anything but rows of the load.
    pub has_written: Cell<bool>,
}

impl Beside<'_> {
    /// Takes the lock, and removes what killed loads have left. What the journal says, if it is to be looked at first: then
    /// there is nothing to do.
    ///
    /// # Errors
    /// Another session has the lock, with what is known of it.
    pub fn begin(&self, writer: &mut dyn Writer, interrupt: &Interrupt) -> Result<Option<Finished>, Box<TableError>> {
        self.take_lock(writer, interrupt)?;
        let failed = |error| TableError::database(PREPARE, error, Some(self.dialect));
        let mut finished = None;
        if let Some((journal, entry)) = self.journal.filter(|_| self.look_first) {
            create(journal, writer).map_err(failed)?;
            let rows = writer.query(&journal.find(entry)).map_err(failed)?;
            finished = rows.first().map(|row| journal::finished(row));
            let staging = finished.as_ref().and_then(|finished| finished.staging.as_deref());
            if let Some(staging) = staging
                && self.is_there(writer, staging).map_err(failed)?
            {
                // Loaded and not renamed; its rows are loaded anew.
                writer.execute(&journal.forget(entry)).map_err(failed)?;
                finished = None;
            }
        }
        for leftover in self.leftovers {
            let sql = format!("DROP TABLE IF EXISTS {}", self.dialect.quote_relation(leftover));
            writer.execute(&sql).map_err(failed)?;
        }
        Ok(finished)
    }

    fn take_lock(&self, writer: &mut dyn Writer, interrupt: &Interrupt) -> Result<(), Box<TableError>> {
        let Some(lock) = &self.lock else { return Ok(()) };
        let failed = |error| TableError::database(PREPARE, error, Some(self.dialect));
        let until = Instant::now() + self.patience.min(LOCK_PATIENCE);
        loop {
            let answer = match writer.query(&lock.take) {
                Ok(answer) => answer,
                // A cluster may not know locks of sessions; it has worked without.
                Err(error) if lock.release.is_some() && self.class(&error) == Some(Class::Other) => {
                    tracing::warn!(event = "copy.no_lock", table = %self.target, error = %error, "the table is not locked");
                    return Ok(());
                }
                Err(error) => return Err(failed(error)),
            };
            if answer.first().and_then(|row| row.first()?.as_deref()) == Some("1") {
                return Ok(());
            }
            if Instant::now() >= until {
                let holder = writer.query(&lock.holder).map_err(failed)?;
                let holder = holder.into_iter().flatten().flatten().next();
                let message = match holder {
                    Some(holder) => format!("another run is writing the table: {holder}"),
                    None => "another run is writing the table".to_owned(),
                };
                let mut error = TableError::refused(PREPARE, IN_USE, message);
                error.hint = Some("wait for its end, or end its session at the server".to_owned());
                return Err(error);
            }
            retry::sleep(LOCK_LOOK, interrupt).map_err(failed)?;
        }
    }

    fn class(&self, error: &Error) -> Option<Class> {
        error.diagnostic().map(|diagnostic| self.dialect.classify(diagnostic))
    }

    /// Whether the table beside the target that rows were loaded into has not been renamed.
    fn is_there(&self, writer: &mut dyn Writer, staging: &str) -> Result<bool, Error> {
        let relation = self.target.beside(staging);
        let sql = format!("SELECT 1 FROM {} WHERE 1 = 0", self.dialect.quote_relation(&relation));
        match writer.query(&sql) {
            Ok(_) => Ok(true),
            Err(error) if self.class(&error) == Some(Class::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the journal's row, if there is a journal, and moves the mark.
    ///
    /// # Errors
    /// Also if another session has done so meanwhile: then it has finished the table.
    pub fn record(
        &self,
        writer: &mut dyn Writer,
        moved: &Moved,
        staging: Option<&Relation>,
    ) -> Result<(), Box<TableError>> {
        if let Some((journal, mark)) = &self.mark {
            self.has_written.set(true);
            let failed = |error| TableError::database(COMMIT, error, Some(self.dialect));
            create(journal, writer).map_err(failed)?;
            let changed = writer.execute(&journal.move_mark(mark, moved)).map_err(failed)?;
            // -1: the driver does not count.
            if mark.before.is_some() && changed == 0 {
                let message = "another run has copied the same rows meanwhile, and moved their watermark".to_owned();
                return Err(TableError::refused(COMMIT, "copy.watermark_moved", message));
            }
        }
        let Some((journal, entry)) = self.journal else {
            return Ok(());
        };
        self.has_written.set(true);
        create(journal, writer)
            .and_then(|()| writer.execute(&journal.record(entry, moved, staging, self.made)))
            .map(drop)
            .map_err(|error| {
                let mut error = TableError::database(COMMIT, error, Some(self.dialect));
                error.end_unknown = error.class == Some(Class::Constraint);
                error
            })
    }

    /// Takes back what the transaction has written beside the rows, for products whose DDL would make it permanent; to be
    /// called before the load is undone. False if that failed and the journal's row may be there: then what it speaks of has
    /// to stay.
    pub fn forget(&self, writer: &mut dyn Writer, is_committed: bool) -> bool {
        if !self.has_written.get() {
            return true;
        }
        writer.shield();
        if !is_committed {
            // A session that is lost has been rolled back.
            let _ = writer.execute("ROLLBACK");
            return true;
        }
        // A mark never waits for a rename.
        let forget = self.journal.map(|(journal, entry)| journal.forget(entry));
        forget.is_none_or(|sql| writer.execute(&sql).is_ok() && writer.commit().is_ok())
    }

    /// Gives the lock back where the end of the transaction does not; false if that failed, and the session has to end.
    pub fn release(&self, writer: &mut dyn Writer) -> bool {
        let release = self.lock.as_ref().and_then(|lock| lock.release.as_deref());
        release.is_none_or(|sql| writer.execute(sql).is_ok())
    }
}

/// Makes the journal's table, where that is left to the transaction.
fn create(journal: &Journal, writer: &mut dyn Writer) -> Result<(), Error> {
    match journal.create() {
        Some(sql) => writer.execute(sql).map(drop),
        None => Ok(()),
    }
}
