//! The last step of a call: foreign keys between tables that are all there now.
//!
//! A key that cannot be is no failure of its table, whose rows are in: it stands among what the table lacks, with the
//! reason. Knows the reports of the tables, and nothing of how they were copied.

use std::collections::{HashMap, HashSet};

use super::{
    error::{Phase, Place, Side, TableError},
    pool::Pool,
    report::TableReport,
    request::Endpoint,
    shape::Neighbours,
};
use crate::{
    database::{Column, Connection, KeyThere, NewKey, Purpose, Relation, Source},
    odbc::Interrupt,
};

const PLACE: Place = Place {
    phase: Phase::Commit,
    side: Side::Target,
};

/// Foreign keys that tables are to have, by the tables' places in the call.
pub(super) type Due = Vec<(usize, Vec<NewKey>)>;

/// What the step knows of the call.
pub(super) struct Keys<'a, 'pool> {
    pub neighbours: &'a Neighbours<'a>,
    pub pool: &'a Pool<'pool>,
    pub target: &'a Endpoint,
    pub interrupt: &'a Interrupt,
}

impl Keys<'_, '_> {
    /// Adds the keys that are due, and those of tables that an earlier run of the same id has made (`skipped`); puts those
    /// back that made way for a table and were not made anew. Tells in the reports what could not be.
    pub fn add(&self, mut due: Due, skipped: &[usize], reports: &mut [Option<TableReport>]) {
        let has_made_way = self.neighbours.keys.iter().any(|key| {
            self.neighbours.targets().contains(&key.referred) && self.neighbours.targets().contains(&key.referring)
        });
        if (due.is_empty() && skipped.is_empty() && !has_made_way) || self.interrupt.is_raised() {
            let reason = "the call was stopped before it was added";
            due.iter().for_each(|(index, keys)| {
                keys.iter().for_each(|key| lacks(reports, *index, &key.thing, reason));
            });
            return;
        }
        let connection = match self.pool.take(self.target, Purpose::Write, self.interrupt) {
            Ok(connection) => connection,
            Err(error) => {
                for (index, keys) in &due {
                    keys.iter()
                        .for_each(|key| lacks(reports, *index, &key.thing, &error.message));
                }
                return;
            }
        };
        due.extend(self.due_of_skipped(skipped, &connection));
        due.sort_by_key(|(index, _)| *index);
        // A table may have been copied twice, and have failed then.
        due.dedup_by_key(|(index, _)| *index);
        let has_ended = |index: usize| reports[index].as_ref().is_some_and(|report| report.error.is_none());
        due.retain(|(index, _)| has_ended(*index));
        if let Err(error) = self.add_all(&due, &connection, reports) {
            for (index, keys) in &due {
                keys.iter()
                    .for_each(|key| lacks(reports, *index, &key.thing, &error.message));
            }
            return;
        }
        self.pool.give(Purpose::Write, connection);
    }

    fn add_all(
        &self,
        due: &Due,
        connection: &Connection,
        reports: &mut [Option<TableReport>],
    ) -> Result<(), Box<TableError>> {
        let dialect = connection.dialect;
        let targets = self.neighbours.targets();
        let mut schemas: Vec<String> = targets.iter().filter_map(|table| table.schema.clone()).collect();
        schemas.sort_unstable();
        schemas.dedup();
        let there = dialect.foreign_keys(&connection.session, &schemas);
        let there = there.map_err(|error| TableError::database(PLACE, error, Some(dialect)))?;
        let mut names: HashSet<(Option<String>, String)> = HashSet::new();
        for key in &there {
            names.insert((key.referring.schema.clone(), key.name.to_lowercase()));
        }
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
                let name = key.name(table, |name| {
                    !names.contains(&(table.schema.clone(), name.to_lowercase()))
                });
                names.insert((table.schema.clone(), name.to_lowercase()));
                if let Err(error) = run(&key.statement(dialect, table, &name)) {
                    lacks(reports, *index, &key.thing, &error.message);
                }
            }
        }
        self.put_back(&there, due, &run, connection, reports);
        Ok(())
    }

    /// Keys that made way for tables that they refer to: those of tables that were not made anew come back, and those that
    /// came back unseen are looked at.
    fn put_back(
        &self,
        there: &[KeyThere],
        due: &Due,
        run: &dyn Fn(&str) -> Result<i64, Box<TableError>>,
        connection: &Connection,
        reports: &mut [Option<TableReport>],
    ) {
        let dialect = connection.dialect;
        let targets = self.neighbours.targets();
        for key in &self.neighbours.keys {
            let place = |table: &Relation| targets.iter().position(|target| target == table);
            let (Some(index), Some(referred)) = (place(&key.referring), place(&key.referred)) else {
                continue;
            };
            let thing = format!("foreign key `{}`", key.name);
            let is_same = |other: &&KeyThere| other.referring == key.referring && other.name == key.name;
            let was_made = due.iter().any(|(made, _)| *made == index)
                || reports[index]
                    .as_ref()
                    .is_some_and(|report| report.created && report.error.is_none());
            match (there.iter().find(is_same), &key.definition) {
                (None, Some(definition)) if self.neighbours.replaces(referred) && !was_made => {
                    let (table, name) = (dialect.quote_relation(&key.referring), dialect.quote(&key.name));
                    if let Err(error) = run(&format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")) {
                        lacks(reports, index, &thing, &error.message);
                    }
                }
                (Some(now), Some(before)) if now.definition.as_ref() != Some(before) => {
                    let sql = dialect.validate_foreign_key(&key.referring, &key.name);
                    if let Some(Err(error)) = sql.map(|sql| run(&sql)) {
                        lacks(reports, index, &thing, &error.message);
                    }
                }
                _ => {}
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
