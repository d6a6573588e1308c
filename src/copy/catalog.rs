//! What both databases say of the tables of a call, asked for all at once where there are many: a small table is copied in
//! less time than it takes to ask about it.
//!
//! Knows which tables are asked about, and nothing of what is decided from the answers. What could not be had here is
//! left out, and asked again for its table alone, whose error it then is.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use super::{dependants::matter, job::Job, plan::Known, pool::Pool, shape::Neighbours};
use crate::{
    database::{Connection, Features, Mode, Purpose, Relation, Source, Table},
    odbc::Interrupt,
};

/// From so many tables of one database on; with three and two workers their order matters.
const TABLES_MIN: usize = 3;

/// Most sources that are asked at once.
const SOURCES_MAX: usize = 8;

/// Answers are believed for so long: in a long call tables come and go.
const FRESH: Duration = Duration::from_secs(60);

/// What is asked about a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Both ends.
    Both,
    /// The source alone: the target may change until it is the table's turn.
    Source,
    /// Nothing.
    None,
}

/// The answers for the tables of a call, by their place in it.
pub(super) struct Catalog {
    known: HashMap<usize, Known>,
    bytes: HashMap<usize, u64>,
    asked: Instant,
}

/// What a source has said of its tables, in their order.
#[derive(Default)]
struct Answers {
    tables: Option<Vec<Option<Table>>>,
    features: HashMap<usize, Features>,
    bytes: Vec<Option<u64>>,
}

impl Catalog {
    /// Asks about the tables as `question` says, given their place; and how large they are, if `sizes` is set.
    pub fn read(
        neighbours: &Neighbours<'_>,
        (pool, target, interrupt): (&Pool<'_>, &Connection, &Interrupt),
        question: impl Fn(usize) -> Question,
        sizes: bool,
    ) -> Catalog {
        let asked = Instant::now();
        let jobs = neighbours.jobs();
        let mut known: HashMap<usize, Known> = HashMap::new();
        let questions: Vec<Question> = (0..jobs.len()).map(question).collect();
        let with_target: Vec<usize> = (0..jobs.len())
            .filter(|index| questions[*index] == Question::Both)
            .collect();
        if with_target.len() >= TABLES_MIN {
            let relations: Vec<Relation> = with_target.iter().map(|index| jobs[*index].target.clone()).collect();
            if let Ok(Some(tables)) = target.dialect.tables(&target.session, &relations) {
                for (index, table) in with_target.iter().zip(tables) {
                    known.entry(*index).or_default().target = Some(table);
                }
            }
            let is_met = |index: &&usize| {
                let is_missing = known.get(*index).is_some_and(|known| known.target == Some(None));
                matter(jobs[**index].options.meeting.mode) && !is_missing
            };
            let met: Vec<usize> = with_target.iter().filter(is_met).copied().collect();
            let relations: Vec<Relation> = met.iter().map(|index| jobs[*index].target.clone()).collect();
            if !met.is_empty()
                && let Ok(dependants) = target.dialect.dependants(&target.session, &relations)
            {
                for (index, dependants) in met.iter().zip(dependants) {
                    known.entry(*index).or_default().dependants = Some(dependants);
                }
            }
        }
        let mut by_source: HashMap<String, Vec<(usize, Relation)>> = HashMap::new();
        for (index, job) in jobs.iter().enumerate() {
            if let (Source::Table { relation, .. }, Question::Both | Question::Source) = (&job.what, questions[index]) {
                let source = by_source.entry(job.source.string.reveal()).or_default();
                source.push((index, relation.clone()));
            }
        }
        // Which of two tables gets a name that both have in their sources must not depend on who is quicker.
        let shares_names = neighbours.is_full()
            && target
                .dialect
                .shaping()
                .is_some_and(|shaping| shaping.shares_index_names());
        let sources: Vec<Vec<(usize, Relation)>> = by_source
            .into_values()
            .filter(|tables| tables.len() >= TABLES_MIN || (shares_names && jobs.len() > 1))
            .collect();
        let made = |index: usize| {
            let known = known.get(&index).and_then(|known| known.target.as_ref());
            jobs[index].options.meeting.mode == Mode::Replace || known.is_none_or(Option::is_none)
        };
        let ask = |tables: &[(usize, Relation)]| ask(jobs, tables, (pool, interrupt), &made, sizes);
        let mut answered = Vec::new();
        // A server takes its time to log somebody in, and the next one need not wait for it.
        for some in sources.chunks(SOURCES_MAX) {
            thread::scope(|scope| {
                let (first, others) = some.split_at(1);
                let others: Vec<_> = others.iter().map(|tables| scope.spawn(|| ask(tables))).collect();
                answered.extend(first.iter().map(|tables| ask(tables)));
                // A thread that did not come back has nothing to say.
                answered.extend(others.into_iter().map(|thread| thread.join().unwrap_or_default()));
            });
        }
        let mut bytes = HashMap::new();
        for (tables, answers) in sources.iter().zip(answered) {
            for (index, features) in answers.features {
                known.entry(index).or_default().features = Some(features);
            }
            let described = answers.tables.into_iter().flatten();
            for ((index, _), table) in tables.iter().zip(described) {
                known.entry(*index).or_default().source = table;
            }
            for ((index, _), size) in tables.iter().zip(answers.bytes) {
                bytes.extend(size.map(|size| (*index, size)));
            }
        }
        for index in 0..jobs.len() {
            if let Some(features) = known.get(&index).and_then(|known| known.features.as_ref()) {
                neighbours.reserve(target, index, features);
            }
        }
        Catalog { known, bytes, asked }
    }

    /// The answers for one table, as long as they are fresh.
    pub fn known(&self, index: usize) -> Known {
        match self.asked.elapsed() < FRESH {
            true => self.known.get(&index).cloned().unwrap_or_default(),
            false => Known::default(),
        }
    }

    /// About how many bytes a table of the source holds, whatever part of it is read; `None` for a query, and where nobody
    /// knows.
    pub fn bytes(&self, index: usize) -> Option<u64> {
        let of_rows = || self.known.get(&index)?.source.as_ref()?.estimated_bytes();
        self.bytes.get(&index).copied().or_else(of_rows)
    }
}

/// Asks the source of these tables, which is one, about all of them.
fn ask(
    jobs: &[Job<'_>],
    tables: &[(usize, Relation)],
    (pool, interrupt): (&Pool<'_>, &Interrupt),
    made: &dyn Fn(usize) -> bool,
    sizes: bool,
) -> Answers {
    let mut answers = Answers::default();
    let Some((first, _)) = tables.first() else {
        return answers;
    };
    let endpoint = jobs[*first].source;
    let source = match pool.take(endpoint, Purpose::Read, interrupt) {
        Ok(source) => source,
        Err(error) => {
            pool.refuse(endpoint, Purpose::Read, error);
            return answers;
        }
    };
    let relations: Vec<Relation> = tables.iter().map(|(_, relation)| relation.clone()).collect();
    let Ok(described) = source.dialect.tables(&source.session, &relations) else {
        return answers;
    };
    answers.tables = described;
    let (indices, new): (Vec<usize>, Vec<Relation>) = tables.iter().filter(|(index, _)| made(*index)).cloned().unzip();
    if !new.is_empty() {
        let Ok(features) = source.dialect.features(&source.session, &new) else {
            return answers;
        };
        answers.features = indices.into_iter().zip(features).collect();
    }
    if sizes {
        let Ok(bytes) = source.dialect.estimated_bytes(&source.session, &relations) else {
            return answers;
        };
        answers.bytes = bytes;
    }
    if source.session.rollback().is_ok() {
        pool.give(Purpose::Read, source);
    }
    answers
}
