//! Statements of the target's SQL that are run once for a call: before its first table, and after its last.
//!
//! Each of the two is a transaction of its own, beside those of the tables. Knows nothing of tables.

use super::{
    error::{Phase, Place, Side, TableError},
    pool::Pool,
    request::Request,
};
use crate::{
    database::{Connection, Purpose},
    odbc::{self, Interrupt},
};

/// Runs what comes before the first table.
///
/// # Errors
/// That of a statement, by its place among them; those before it are taken back, where the product can.
pub(super) fn before(request: &Request, target: &Connection) -> Result<(), Box<TableError>> {
    run(target, &request.around_run.before, ("before_run", Phase::Prepare))
}

/// Runs what comes after the last table.
///
/// # Errors
/// As for [`before`]; the tables are there in any case.
pub(super) fn after(request: &Request, pool: &Pool<'_>, interrupt: &Interrupt) -> Result<(), Box<TableError>> {
    let statements = &request.around_run.after;
    if statements.is_empty() {
        return Ok(());
    }
    let target = pool.take(&request.target, Purpose::Write, interrupt)?;
    run(&target, statements, ("after_run", Phase::Commit))?;
    pool.give(Purpose::Write, target);
    Ok(())
}

fn run(target: &Connection, statements: &[String], (option, phase): (&str, Phase)) -> Result<(), Box<TableError>> {
    let place = Place {
        phase,
        side: Side::Target,
    };
    let session = &target.session;
    let failed = |place_among: Option<usize>, error: odbc::Error| {
        // The first error is the one to be told.
        let _ = session.rollback();
        let mut failed = TableError::database(place, error.into(), Some(target.dialect));
        let of = place_among.map_or_else(
            || format!("the commit of `{option}`"),
            |number| format!("statement {} of `{option}`", number + 1),
        );
        failed.message = format!("{of} failed: {}", failed.message);
        failed
    };
    if statements.is_empty() {
        return Ok(());
    }
    session.set_autocommit(false).map_err(|error| failed(None, error))?;
    for (number, sql) in statements.iter().enumerate() {
        session.execute(sql).map_err(|error| failed(Some(number), error))?;
    }
    session.commit().map_err(|error| failed(None, error))?;
    // As the pool has it.
    session.set_autocommit(true).map_err(|error| failed(None, error))
}
