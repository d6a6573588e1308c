//! What the sources of a call have, for the names that have to be looked up: patterns, and `{schema}` in a target's name for a
//! table without one. All sources at the same time, since each may have to wake up first.
//!
//! Knows which sources are asked, and nothing of what is meant; one that does not answer has its error here.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    error::{Phase, Place, Side, TableError},
    pool::Pool,
    request::Endpoint,
};
use crate::{
    database::{Purpose, Relation},
    odbc::Interrupt,
};

/// Most sources that are asked at once.
const SOURCES_MAX: usize = 8;

/// What one source has.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Its default schema, if it has any.
    pub schema: Option<String>,
    /// Its tables and views; none if only the schema was asked for.
    pub relations: Vec<Relation>,
}

/// What is asked of a source.
pub(super) struct Question<'a> {
    pub source: &'a Endpoint,
    /// Whether its tables are to be listed; else the default schema alone.
    pub lists: bool,
}

/// The answers.
pub(super) struct Listings<'a> {
    sources: Vec<Question<'a>>,
    answers: Vec<Option<Result<Listing, Box<TableError>>>>,
}

impl<'a> Listings<'a> {
    /// Asks each source once. Whoever wants to connect to one that could not be reached is told so without another try.
    pub fn read(questions: impl Iterator<Item = Question<'a>>, pool: &Pool<'_>, interrupt: &Interrupt) -> Self {
        let mut sources: Vec<Question<'a>> = Vec::new();
        for question in questions {
            match sources
                .iter_mut()
                .find(|other| other.source.string == question.source.string)
            {
                Some(other) => other.lists |= question.lists,
                None => sources.push(question),
            }
        }
        let answers = Mutex::new(sources.iter().map(|_| None).collect::<Vec<_>>());
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((place, question)) = {
                let place = next.fetch_add(1, Ordering::Relaxed);
                sources.get(place).map(|question| (place, question))
            } {
                let answer = ask(question, pool, interrupt);
                answers.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(answer);
            }
        };
        thread::scope(|scope| {
            for _ in 1..sources.len().min(SOURCES_MAX) {
                // Without a thread the others do it all.
                let thread = thread::Builder::new().name("dray-list".to_owned());
                drop(thread.spawn_scoped(scope, work));
            }
            work();
        });
        let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        Listings { sources, answers }
    }

    /// What a source has answered; `None` if it was not asked.
    pub fn of(&self, source: &Endpoint) -> Option<Result<&Listing, &TableError>> {
        let place = self
            .sources
            .iter()
            .position(|other| other.source.string == source.string)?;
        let answer = self.answers.get(place)?.as_ref()?;
        Some(answer.as_ref().map_err(|error| &**error))
    }
}

fn ask(question: &Question<'_>, pool: &Pool<'_>, interrupt: &Interrupt) -> Result<Listing, Box<TableError>> {
    let source = question.source;
    let connection = pool.take(source, Purpose::Read, interrupt).inspect_err(|error| {
        pool.refuse(source, Purpose::Read, error.clone());
    })?;
    let place = Place {
        phase: Phase::Plan,
        side: Side::Source,
    };
    let failed = |error| {
        let mut error = TableError::database(place, error, Some(connection.dialect));
        error.message = format!("`{}`: {}", source.label, error.message);
        error
    };
    let schema = connection.dialect.default_schema(&connection.session).map_err(failed)?;
    let relations = match question.lists {
        true => connection.dialect.relations(&connection.session).map_err(failed)?,
        false => Vec::new(),
    };
    connection.session.rollback().map_err(|error| failed(error.into()))?;
    pool.give(Purpose::Read, connection);
    Ok(Listing { schema, relations })
}
