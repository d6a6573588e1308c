//! The last step of a call: foreign keys between tables that are all there now.
//!
//! A key that cannot be is no failure of its table, whose rows are in: it stands among what the table lacks, with the
//! reason. Knows the reports of the tables, and nothing of how they were copied.

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use super::{
    error::{Phase, Place, Side, TableError},
    pool::Pool,
    report::TableReport,
    request::Endpoint,
    shape::Neighbours,
};
use crate::{
    database::{Column, Connection, Dialect, Holds, KeyThere, NewKey, Purpose, Relation, Source},
    odbc::Interrupt,
};

const PLACE: Place = Place {
    phase: Phase::Commit,
    side: Side::Target,
};

/// How long a call that was stopped takes at most to put keys back, and how often it then tells what runs to end.
const PUT_BACK_MAX: Duration = Duration::from_secs(10);
const RAISED_EVERY: Duration = Duration::from_millis(100);

/// Foreign keys that tables are to have, by the tables' places in the call.
pub(super) type Due = Vec<(usize, Vec<NewKey>)>;

/// What the step knows of the call.
pub(super) struct Keys<'a, 'pool> {
    pub neighbours: &'a Neighbours<'a>,
    pub pool: &'a Pool<'pool>,
    pub target: &'a Endpoint,
    pub dialect: &'a dyn Dialect,
    pub interrupt: &'a Interrupt,
}

impl Keys<'_, '_> {
    /// Adds the keys that are due, and those of tables that an earlier run of the same id has made (`skipped`); puts those
    /// back that made way for a table and were not made anew, also when the call was stopped. Tells in the reports what could
    /// not be.
    pub fn add(&self, mut due: Due, skipped: &[usize], reports: &mut [Option<TableReport>]) {
        if self.interrupt.is_raised() {
            tell(&due, reports, "the call was stopped before it was added");
            return self.put_back_in_time(&due, reports);
        }
        let has_made_way = self.neighbours.keys.iter().any(|key| {
            self.neighbours.targets().contains(&key.referred) && self.neighbours.targets().contains(&key.referring)
        });
        if due.is_empty() && skipped.is_empty() && !has_made_way {
            return;
        }
        let connection = match self.pool.take(self.target, Purpose::Write, self.interrupt) {
            Ok(connection) => connection,
            Err(error) => {
                tell(&due, reports, &error.message);
                return self.lose(&due, reports, &error.message);
            }
        };
        due.extend(self.due_of_skipped(skipped, &connection));
        due.sort_by_key(|(index, _)| *index);
        // A table may have been copied twice, and have failed then.
        due.dedup_by_key(|(index, _)| *index);
        let has_ended = |index: usize| reports[index].as_ref().is_some_and(|report| report.error.is_none());
        due.retain(|(index, _)| has_ended(*index));
        if let Err(error) = self.add_all(&due, &connection, reports) {
            tell(&due, reports, &error.message);
            return self.lose(&due, reports, &error.message);
        }
        // Stopped meanwhile.
        if self.interrupt.is_raised() {
            return self.put_back_in_time(&due, reports);
        }
        self.pool.give(Purpose::Write, connection);
    }

    /// Puts back what made way though the call was stopped: in a session that the stop does not reach, and that has a stop of
    /// its own after a while.
    fn put_back_in_time(&self, due: &Due, reports: &mut [Option<TableReport>]) {
        if self.made_way(due, reports).is_empty() {
            return;
        }
        let interrupt = Interrupt::new();
        let (over, is_over) = channel::<()>();
        thread::scope(|scope| {
            let raised = interrupt.clone();
            scope.spawn(move || {
                let mut patience = PUT_BACK_MAX;
                while is_over.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                    raised.raise();
                    patience = RAISED_EVERY;
                }
            });
            let result = (self.pool.connect_once(self.target, Purpose::Write, &interrupt)).and_then(|connection| {
                let there = self.there(&connection)?;
                self.put_back(&there, due, &connection, reports);
                Ok(())
            });
            drop(over);
            if let Err(error) = result {
                self.lose(due, reports, &error.message);
            }
        });
    }

    /// The keys that went with a table which was replaced, or may have, and do not come back by themselves; with the places of
    /// the tables on both sides.
    fn made_way(&self, due: &Due, reports: &[Option<TableReport>]) -> Vec<(&KeyThere, usize, usize)> {
        let targets = self.neighbours.targets();
        let place = |table: &Relation| targets.iter().position(|target| target == table);
        let ended = |index: usize| reports[index].as_ref().filter(|report| !report.skipped);
        let is_made = |index: usize| {
            let is_due = due.iter().any(|(made, _)| *made == index);
            is_due || ended(index).is_some_and(|report| report.created && report.error.is_none())
        };
        let waits = |key: &'_ &KeyThere| Some((place(&key.referring)?, place(&key.referred)?));
        (self.neighbours.keys.iter())
            .filter_map(|key| waits(&key).map(|(referring, referred)| (key, referring, referred)))
            .filter(|(key, _, referred)| key.definition.is_some() && self.neighbours.replaces(*referred))
            .filter(|(key, _, _)| key.referring != key.referred)
            .filter(|(_, referring, referred)| ended(*referred).is_some() && !is_made(*referring))
            .collect()
    }

    /// Tells of the keys that made way, and of which nobody knows whether they are there.
    fn lose(&self, due: &Due, reports: &mut [Option<TableReport>], reason: &str) {
        for (key, referring, referred) in self.made_way(due, reports) {
            self.is_lost(key, (referring, referred), reports, reason);
        }
    }

    /// Tells of a key that is not there any more, with the statement that makes it again: in the report of its table, or in
    /// that of the one that it made way for.
    fn is_lost(&self, key: &KeyThere, places: (usize, usize), reports: &mut [Option<TableReport>], reason: &str) {
        let at = if reports[places.0].is_some() {
            places.0
        } else {
            places.1
        };
        let statements = self.dialect.make_foreign_key(key).unwrap_or_default();
        let thing = format!("foreign key `{}` of `{}`", key.name, key.referring);
        let reason = format!(
            "it made way for `{}`, which was replaced, and could not be put back: {reason}; it was `{}`",
            key.referred,
            statements.join("; ")
        );
        lacks(reports, at, &thing, &reason);
    }

    /// The foreign keys that the target has now.
    fn there(&self, connection: &Connection) -> Result<Vec<KeyThere>, Box<TableError>> {
        let dialect = connection.dialect;
        let there = dialect.foreign_keys(&connection.session, self.neighbours.targets());
        there.map_err(|error| TableError::database(PLACE, error, Some(dialect)))
    }

    fn add_all(
        &self,
        due: &Due,
        connection: &Connection,
        reports: &mut [Option<TableReport>],
    ) -> Result<(), Box<TableError>> {
        let dialect = connection.dialect;
        let targets = self.neighbours.targets();
        let there = self.there(connection)?;
        let of_key = |table: &Relation, name: &str| table.beside(name.to_lowercase());
        let mut names: HashSet<Relation> = (there.iter()).map(|key| of_key(&key.referring, &key.name)).collect();
        let named = due.iter().flat_map(|(index, keys)| {
            let names = keys.iter().filter_map(|key| key.name.clone());
            names.map(|name| targets[*index].beside(name))
        });
        let taken = dialect.taken_key_names(&connection.session, &named.collect::<Vec<_>>());
        let taken = taken.map_err(|error| TableError::database(PLACE, error, Some(dialect)))?;
        names.extend(taken.iter().map(|taken| of_key(taken, &taken.name)));
        let run = |sql: &str| {
            let result = connection.session.execute(sql);
            result.map_err(|error| TableError::database(PLACE, error.into(), Some(dialect)))
        };
        for (index, keys) in due {
            let table = &targets[*index];
            let own: HashSet<String> = (there.iter().filter(|key| key.referring == *table))
                .map(|key| key.name.to_lowercase())
                .collect();
            for key in keys {
                let is_own = |name: &str| own.contains(&name.to_lowercase());
                if key.name.as_deref().is_some_and(is_own) || is_own(&key.derived_name(table)) {
                    continue;
                }
                let name = key.name(table, |name| !names.contains(&of_key(table, name)));
                names.insert(of_key(table, &name));
                if let Err(error) = run(&key.statement(dialect, table, &name)) {
                    lacks(reports, *index, &key.thing, &error.message);
                }
            }
        }
        self.put_back(&there, due, connection, reports);
        Ok(())
    }

    /// Keys that made way for tables that they refer to: those of tables that were not made anew come back, and those that
    /// came back unseen are looked at, now or in an earlier run that did not come so far.
    fn put_back(&self, there: &[KeyThere], due: &Due, connection: &Connection, reports: &mut [Option<TableReport>]) {
        let dialect = connection.dialect;
        let run = |statements: &[String]| {
            let mut statements = statements.iter();
            let result = statements.try_for_each(|sql| connection.session.execute(sql).map(drop));
            result.map_err(|error| TableError::database(PLACE, error.into(), Some(dialect)))
        };
        let is_same = |key: &KeyThere, other: &KeyThere| other.referring == key.referring && other.name == key.name;
        let mut unseen: Vec<&KeyThere> = Vec::new();
        for (key, referring, referred) in self.made_way(due, reports) {
            if there.iter().any(|other| is_same(key, other)) {
                continue;
            }
            match run(&dialect.put_foreign_key_back(key).unwrap_or_default()) {
                Ok(()) => unseen.push(key),
                Err(error) => self.is_lost(key, (referring, referred), reports, &error.message),
            }
        }
        let targets = self.neighbours.targets();
        let of_call = there.iter().filter(|key| key.unseen && targets.contains(&key.referred));
        unseen.extend(of_call);
        for key in unseen {
            let Some(index) = targets.iter().position(|target| *target == key.referring) else {
                continue;
            };
            // What the user has otherwise stays so.
            let is_wanted = key.unseen || key.holds == Holds::All;
            let statements = dialect.validate_foreign_key(&key.referring, &key.name);
            if let Err(error) = run(if is_wanted { &statements } else { &[] }) {
                let reason = format!(
                    "it holds for new rows, and not for all that are there: {}",
                    error.message
                );
                lacks(reports, index, &format!("foreign key `{}`", key.name), &reason);
            }
        }
    }

    /// The keys that tables should have that an earlier run has made. What cannot be asked for is told in the log: the rows
    /// are in, and the next run of the same id asks again.
    fn due_of_skipped(&self, skipped: &[usize], target: &Connection) -> Due {
        let mut by_source: HashMap<String, Vec<usize>> = HashMap::new();
        for index in skipped {
            let string = self.neighbours.jobs()[*index].source.string.reveal();
            by_source.entry(string).or_default().push(*index);
        }
        let mut due = Vec::new();
        for tables in by_source.values() {
            match self.due_of(tables, target) {
                Ok(keys) => due.extend(keys),
                Err(error) => tracing::warn!(
                    event = "copy.no_foreign_keys",
                    code = error.code,
                    "the foreign keys of tables that an earlier run has made could not be looked at: {}",
                    error.message
                ),
            }
        }
        due
    }

    fn due_of(&self, tables: &[usize], target: &Connection) -> Result<Due, Box<TableError>> {
        let jobs = self.neighbours.jobs();
        let Some(first) = tables.first() else {
            return Ok(Vec::new());
        };
        let source = self.pool.take(jobs[*first].source, Purpose::Read, self.interrupt)?;
        let read = |index: &usize| match &jobs[*index].what {
            Source::Table { relation, .. } => Some((*index, relation.clone())),
            Source::Query(_) => None,
        };
        let (indices, relations): (Vec<usize>, Vec<Relation>) = tables.iter().filter_map(read).unzip();
        let side = |connection: &Connection, side: Side| {
            let (dialect, phase) = (connection.dialect, Phase::Plan);
            move |error| TableError::database(Place { phase, side }, error, Some(dialect))
        };
        let features = source.dialect.features(&source.session, &relations);
        let features = features.map_err(side(&source, Side::Source))?;
        let mut due = Vec::new();
        for ((index, relation), features) in indices.iter().zip(&relations).zip(&features) {
            if features.foreign_keys.is_empty() {
                continue;
            }
            let from = source
                .dialect
                .table(&source.session, relation)
                .map_err(side(&source, Side::Source))?;
            let named = &self.neighbours.targets()[*index];
            let to = target
                .dialect
                .table(&target.session, named)
                .map_err(side(target, Side::Target))?;
            let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
            let pair = |column: &Column| {
                let same = to.columns.iter().find(|other| other.name == column.name)?;
                Some((column.clone(), same.clone()))
            };
            let pairs = from.columns.iter().filter_map(pair).collect();
            let keys = self.neighbours.keys_of(*index, features, (&source, target), pairs);
            due.push((*index, keys.map_err(side(target, Side::Target))?));
        }
        if source.session.rollback().is_ok() {
            self.pool.give(Purpose::Read, source);
        }
        Ok(due)
    }
}

/// Puts all that is due on the lists of what tables lack.
fn tell(due: &Due, reports: &mut [Option<TableReport>], reason: &str) {
    for (index, keys) in due {
        keys.iter().for_each(|key| lacks(reports, *index, &key.thing, reason));
    }
}

/// Puts a thing on a table's list of what it lacks.
fn lacks(reports: &mut [Option<TableReport>], index: usize, thing: &str, reason: &str) {
    tracing::warn!(
        event = "copy.not_carried",
        thing,
        reason,
        "a foreign key could not be added"
    );
    if let Some(Some(report)) = reports.get_mut(index) {
        report.not_carried.push(format!("{thing}: {reason}"));
    }
}
