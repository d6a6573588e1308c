//! One table in key ranges: whether and in which, which connections read them, and that all of them read one state.
//!
//! The plan is in plain values. Ranges are a gain and never a need: what stands against them becomes a reason in words, and
//! the table is read in one. Knows nothing of batches and writers.

use super::{
    error::{Phase, Place, Side, TableError},
    pipeline::Budget,
    plan::TablePlan,
    pool::Pool,
    request::Endpoint,
};
use crate::{
    database::{Class, Column, Connection, Error, Purpose, ReadLane, Reader, Relation, Resources, Source},
    odbc::Interrupt,
};

const PLACE: Place = Place {
    phase: Phase::Plan,
    side: Side::Source,
};

/// The least bytes for the lane of each reader.
const READER_BYTES_MIN: usize = 2 << 20;

/// A range of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// What is read of the table.
    pub what: Source,
    /// Its condition, without values that may be somebody's name.
    pub shown: String,
}

/// What is known of a table that is to be read.
pub(super) struct Facts<'a> {
    /// All of the table's.
    pub columns: &'a [Column],
    pub estimated_rows: Option<u64>,
    /// See [`crate::database::Table::not_transactional`].
    pub not_transactional: Option<&'a str>,
}

/// The ranges of a table, at least two, and how they are read in a few words.
pub(super) struct Planned {
    pub ranges: Vec<Range>,
    pub how: String,
}

/// The ranges of a table, or why there are none.
pub(super) fn plan(
    source: &Connection,
    what: &Source,
    facts: &Facts<'_>,
    lane: &dyn ReadLane,
    wanted: usize,
) -> Result<Result<Planned, String>, Box<TableError>> {
    let Source::Table { relation, condition } = what else {
        return Ok(Err("a query has no key".to_owned()));
    };
    let state = match (lane.shared_state(source, what), facts.not_transactional) {
        (Err(reason), _) => return Ok(Err(reason)),
        (Ok(_), Some(reason)) => return Ok(Err(reason.to_owned())),
        (Ok(state), None) => state,
    };
    let failed = |error| TableError::database(PLACE, error, Some(source.dialect));
    let asked = source
        .dialect
        .ranges(&source.session, relation, facts.columns, facts.estimated_rows, wanted);
    let ranges = match asked {
        Ok(Ok(ranges)) => ranges,
        Ok(Err(reason)) => return Ok(Err(reason)),
        Err(error) => {
            let reason = source.as_reason("its key cannot be parted", error).map_err(failed)?;
            // What was begun may have failed with it.
            source.session.rollback().map_err(|error| failed(error.into()))?;
            return Ok(Err(reason));
        }
    };
    let how = format!("in {} ranges by {}, {state}", ranges.conditions.len(), ranges.by);
    let range = |part: crate::database::Condition| Range {
        what: Source::Table {
            relation: relation.clone(),
            condition: Some(match condition {
                // It may end in a comment.
                Some(own) => format!("({own}\n) AND ({})", part.sql),
                None => part.sql,
            }),
        },
        shown: part.shown,
    };
    Ok(Ok(Planned {
        ranges: ranges.conditions.into_iter().map(range).collect(),
        how,
    }))
}

/// The most readers that each have a part of the budget worth the name.
pub(super) fn readers_max(budget: Budget) -> usize {
    (budget.lane_bytes() / READER_BYTES_MIN).max(1)
}

/// The connections that read a table in ranges beside the first one; or why there are not enough.
pub(super) fn connect(
    plan: &TablePlan,
    pool: &Pool<'_>,
    endpoint: &Endpoint,
    interrupt: &Interrupt,
) -> Result<Result<Vec<Connection>, String>, Box<TableError>> {
    let mut others = Vec::new();
    for _ in 1..plan.ranges.len() {
        match pool.take_now(endpoint, Purpose::Read, interrupt) {
            Ok(connection) => others.push(connection),
            Err(error) if error.class == Some(Class::AccessDenied) || interrupt.is_raised() => return Err(error),
            Err(error) => return Ok(Err(error.message.clone())),
        }
    }
    Ok(Ok(others))
}

/// Readers of a table, and why they are not one a range, if the plan would have it so.
pub(super) struct Readers {
    pub readers: Vec<Box<dyn Reader>>,
    pub one_range: Option<String>,
}

/// Begins to read: each range on a connection of its own, and all of one state, or the whole table on the first.
pub(super) fn open(
    plan: &TablePlan,
    lane: &dyn ReadLane,
    mut connections: Vec<Connection>,
    columns: &[Column],
    resources: &Resources,
) -> Result<Readers, Error> {
    let readers = plan.ranges.len();
    let of_one = Resources {
        memory_bytes: resources.memory_bytes / readers.max(1),
        ..resources.clone()
    };
    let mut one_range = None;
    if let Some(relation) = relation_of(&plan.source).filter(|_| readers > 1 && connections.len() == readers) {
        match lane.share_state(&connections, relation, &of_one)? {
            Ok(()) => {
                let opened = connections.into_iter().zip(&plan.ranges);
                let opened =
                    opened.map(|(connection, range)| lane.open(connection, &range.what, columns, plan.wire, &of_one));
                return Ok(Readers {
                    readers: opened.collect::<Result<_, _>>()?,
                    one_range: None,
                });
            }
            Err(reason) => one_range = Some(reason),
        }
    }
    connections.truncate(1);
    let opened = connections.into_iter();
    let opened = opened.map(|connection| lane.open(connection, &plan.source, columns, plan.wire, resources));
    Ok(Readers {
        readers: opened.collect::<Result<_, _>>()?,
        one_range,
    })
}

fn relation_of(source: &Source) -> Option<&Relation> {
    match source {
        Source::Table { relation, .. } => Some(relation),
        Source::Query(_) => None,
    }
}

/// What a lane's reason goes on with where ranges were wanted and are not.
pub(super) fn in_one(reason: &str) -> String {
    format!("; in one range: {reason}")
}

/// Says of an error's row how it was counted, if several readers counted.
pub(super) fn say_where(error: &mut TableError, range: usize, ranges: usize) {
    if ranges > 1 && error.row.is_some() {
        error
            .message
            .push_str(&format!("; the row is counted within range {} of {ranges}", range + 1));
    }
}

/// Says of a row that the target's side has counted how it did, if several readers took turns.
pub(super) fn say_in_turns(error: &mut TableError, ranges: usize) {
    if ranges > 1 && error.row.is_some() {
        error.message.push_str(&format!(
            "; the row is counted as it was loaded, {ranges} ranges taking turns"
        ));
    }
}
