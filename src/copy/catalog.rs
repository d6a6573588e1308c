//! What both databases say of the tables of a call, asked for all at once where there are many: a small table is copied in
//! less time than it takes to ask about it.
//!
//! Knows which tables are asked about, and nothing of what is decided from the answers. What could not be had here is
//! left out, and asked again for its table alone, whose error it then is.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{job::Job, plan::Known, pool::Pool, request::Request};
use crate::{
    database::{Connection, Mode, Purpose, Relation, Source},
    odbc::Interrupt,
};

/// From so many tables on.
const TABLES_MIN: usize = 4;

/// Answers are believed for so long: in a long call tables come and go.
const FRESH: Duration = Duration::from_secs(60);

/// The answers for the tables of a call, by their place in it.
pub(super) struct Catalog {
    known: HashMap<usize, Known>,
    asked: Instant,
}

impl Catalog {
    /// Asks about the tables that `is_free` says, given their place; others may change until it is their turn.
    pub fn read(
        jobs: &[Job<'_>],
        request: &Request,
        (pool, target, interrupt): (&Pool<'_>, &Connection, &Interrupt),
        is_free: impl Fn(usize) -> bool,
    ) -> Catalog {
        let asked = Instant::now();
        let mut known: HashMap<usize, Known> = HashMap::new();
        let free: Vec<usize> = (0..jobs.len()).filter(|index| is_free(*index)).collect();
        if free.len() >= TABLES_MIN {
            let relations: Vec<Relation> = free.iter().map(|index| jobs[*index].target.clone()).collect();
            if let Ok(Some(tables)) = target.dialect.tables(&target.session, &relations) {
                for (index, table) in free.iter().zip(tables) {
                    known.entry(*index).or_default().target = Some(table);
                }
            }
        }
        let mut by_source: HashMap<String, Vec<(usize, Relation)>> = HashMap::new();
        for index in free {
            if let Source::Table { relation, .. } = &jobs[index].what {
                let source = by_source.entry(jobs[index].source.string.reveal()).or_default();
                source.push((index, relation.clone()));
            }
        }
        for tables in by_source.into_values().filter(|tables| tables.len() >= TABLES_MIN) {
            let (indices, relations): (Vec<usize>, Vec<Relation>) = tables.into_iter().unzip();
            let Ok(source) = pool.take(jobs[indices[0]].source, Purpose::Read, interrupt) else {
                continue;
            };
            let Ok(Some(tables)) = source.dialect.tables(&source.session, &relations) else {
                continue;
            };
            for (index, table) in indices.iter().zip(tables) {
                known.entry(*index).or_default().source = table;
            }
            let made = |index: &usize| {
                let known = known.get(index).and_then(|known| known.target.as_ref());
                request.mode == Mode::Replace || known.is_none_or(Option::is_none)
            };
            let (indices, relations): (Vec<usize>, Vec<Relation>) = indices
                .into_iter()
                .zip(relations)
                .filter(|(index, _)| made(index))
                .unzip();
            if !indices.is_empty() {
                let Ok(things) = source.dialect.not_carried(&source.session, &relations) else {
                    continue;
                };
                for (index, things) in indices.iter().zip(things) {
                    known.entry(*index).or_default().not_carried = Some(things);
                }
            }
            if source.session.rollback().is_ok() {
                pool.give(Purpose::Read, source);
            }
        }
        Catalog { known, asked }
    }

    /// The answers for one table, as long as they are fresh.
    pub fn known(&self, index: usize) -> Known {
        match self.asked.elapsed() < FRESH {
            true => self.known.get(&index).cloned().unwrap_or_default(),
            false => Known::default(),
        }
    }
}
