//! What the sources of a call have, for the names that have to be looked up: patterns, those that say in which database a table
//! is, and `{schema}` in a target's name for a table without one. All sources at the same time, since each may have to wake up first.
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
    /// Its tables and views, of each database of which they were asked for.
    pub relations: Vec<Relation>,
    /// Names that say where a table is: as they were asked about, and what the source calls each or why it does not reach it.
    reached: Vec<(Relation, Result<Relation, String>)>,
}

impl Listing {
    /// The one name that a table has for the source, see [`crate::database::Dialect::reach`].
    ///
    /// # Errors
    /// Why the source does not reach it.
    pub fn reach(&self, relation: &Relation) -> Result<Relation, String> {
        let found = self.reached.iter().find(|(asked, _)| asked == relation);
        found.map_or_else(|| Ok(relation.clone()), |(_, answer)| answer.clone())
    }
}

/// What is asked of a source.
pub(super) struct Question<'a> {
    pub source: &'a Endpoint,
    /// The names that say where a table is.
    pub elsewhere: Vec<Relation>,
    /// Names in whose databases all tables are to be listed; if there are none, the default schema alone is asked for.
    pub lists: Vec<Relation>,
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
                Some(other) => {
                    other.elsewhere.extend(question.elsewhere);
                    other.lists.extend(question.lists);
                }
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
    let mut listing = Listing {
        schema,
        ..Listing::default()
    };
    if !question.elsewhere.is_empty() {
        let reached = connection.dialect.reach(&connection.session, &question.elsewhere);
        let asked = question.elsewhere.iter().cloned();
        listing.reached = asked.zip(reached.map_err(failed)?).collect();
    }
    let mut catalogs: Vec<Option<String>> = Vec::new();
    // Of one that is not reached whoever names it is told.
    for relation in question
        .lists
        .iter()
        .filter_map(|relation| listing.reach(relation).ok())
    {
        if !catalogs.contains(&relation.catalog) {
            catalogs.push(relation.catalog);
        }
    }
    for catalog in &catalogs {
        let relations = (connection.dialect).relations(&connection.session, catalog.as_deref());
        listing.relations.extend(relations.map_err(failed)?);
    }
    connection.session.rollback().map_err(|error| failed(error.into()))?;
    pool.give(Purpose::Read, connection);
    Ok(listing)
}
