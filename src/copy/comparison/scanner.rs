//! Reads one side of a comparison: whole tables, or the rows of some ranges of keys, each as its key and hash.
//!
//! Both sides come in the form of the target's columns: the source's values are converted as a copy would.

use std::sync::Arc;

use super::{
    super::{
        checksum::RowHasher,
        error::{Phase, Place, Side, TableError},
        pipeline::Budget,
        plan::{self, ColumnPlan, LaneChoice},
        pool::Pool,
        request::{Endpoint, Lanes},
        watermark::narrowed,
    },
    key::{self, Key, Part, Range},
};
use crate::{
    database::{Batch, Column, Connection, Dialect, Purpose, ReadLane, Resources, Source},
    odbc::Interrupt,
};

/// What both sides have in common.
pub(super) struct Layout {
    /// The columns, and the way from the source's form to the target's.
    pub columns: Vec<ColumnPlan>,
    /// The key's columns, by their place among these; none if rows cannot be told apart.
    pub key: Vec<usize>,
}

/// Reads one side.
pub(super) struct Scanner<'a> {
    side: Side,
    layout: Arc<Layout>,
    endpoint: &'a Endpoint,
    pool: &'a Pool<'a>,
    what: Source,
    lanes: Lanes,
    dialect: &'static dyn Dialect,
    connection: Option<Connection>,
    budget: Budget,
    /// Stops this side alone.
    pub interrupt: Interrupt,
    /// Whether the database can be asked for ranges of keys: else it is read whole.
    pub is_ordered: bool,
    /// Whole rows that were read.
    pub rows_read: u64,
}

/// Takes a row: a batch, its place in it, the range that it is in, and its key.
type Take<'a> = dyn FnMut(&Batch, usize, Option<usize>, Key) + 'a;

impl<'a> Scanner<'a> {
    pub fn new(
        side: Side,
        layout: Arc<Layout>,
        (endpoint, pool): (&'a Endpoint, &'a Pool<'a>),
        (connection, what): (Connection, Source),
        (lanes, budget, interrupt): (Lanes, Budget, Interrupt),
    ) -> Scanner<'a> {
        let mut scanner = Scanner {
            side,
            layout,
            endpoint,
            pool,
            what,
            lanes,
            dialect: connection.dialect,
            connection: Some(connection),
            budget,
            interrupt,
            is_ordered: false,
            rows_read: 0,
        };
        let key: Vec<&Column> = scanner.key_columns().collect();
        scanner.is_ordered = key::is_ordered(scanner.dialect, &key);
        scanner
    }

    /// A column as this side has it.
    fn own(&self, plan: &'_ ColumnPlan) -> Column {
        match self.side {
            Side::Source => plan.source.clone(),
            Side::Target => plan.target.clone(),
        }
    }

    fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.layout.key.iter().map(|position| {
            let plan = &self.layout.columns[*position];
            match self.side {
                Side::Source => &plan.source,
                Side::Target => &plan.target,
            }
        })
    }

    /// Visits the rows of these ranges, which are sorted and have no key in common: hands over the place of the row's range
    /// among them, its key, and its hash.
    pub fn rows(&mut self, ranges: &[Range], take: &mut dyn FnMut(usize, Key, u128)) -> Result<(), Box<TableError>> {
        let layout = self.layout.clone();
        let all: Vec<usize> = (0..layout.columns.len()).collect();
        let targets: Vec<Column> = layout.columns.iter().map(|plan| plan.target.clone()).collect();
        let mut hasher = RowHasher::of(&targets);
        let mut rows_read = 0;
        self.visit(ranges, (&all, &layout.key), &mut |batch, row, range, key| {
            rows_read += 1;
            if let Some(range) = range {
                take(range, key, hasher.hash(&batch.columns, row));
            }
        })?;
        self.rows_read += rows_read;
        Ok(())
    }

    /// The same for their keys alone, of which no more is read.
    pub fn keys(&mut self, ranges: &[Range], take: &mut dyn FnMut(usize, Key)) -> Result<(), Box<TableError>> {
        let layout = self.layout.clone();
        let places: Vec<usize> = (0..layout.key.len()).collect();
        self.visit(ranges, (&layout.key, &places), &mut |_, _, range, key| {
            if let Some(range) = range {
                take(range, key);
            }
        })
    }

    /// Reads the columns at `positions`, of which those at `key` are the key's.
    fn visit(
        &mut self,
        ranges: &[Range],
        (positions, key): (&[usize], &[usize]),
        take: &mut Take<'_>,
    ) -> Result<(), Box<TableError>> {
        let conditions: Option<Vec<Option<String>>> = self.is_ordered.then(|| {
            let columns: Vec<&Column> = self.key_columns().collect();
            ranges
                .iter()
                .map(|range| range.condition(self.dialect, &columns))
                .collect()
        });
        let plans: Vec<&ColumnPlan> = positions
            .iter()
            .map(|position| &self.layout.columns[*position])
            .collect();
        let plans: Vec<ColumnPlan> = plans.into_iter().cloned().collect();
        // A row that the database has not left out: it knows no ranges, or not of this key.
        let place = |key: &Key| {
            let at = ranges.partition_point(|range| range.up_to.as_ref().is_some_and(|last| last < key));
            (at < ranges.len() && ranges[at].holds(key)).then_some(at)
        };
        let mut each = |batch: &Batch| {
            for row in 0..batch.rows() {
                let key: Key = (key.iter())
                    .map(|position| Part::of(&batch.columns[*position], row, &plans[*position].target))
                    .collect();
                take(batch, row, place(&key), key);
            }
        };
        match conditions {
            // One of them is the whole table, or its keys have no literals.
            Some(conditions) if conditions.iter().all(Option::is_some) => {
                for condition in conditions.into_iter().flatten() {
                    let what = narrowed(self.dialect, &self.what, &condition);
                    self.read(&what, &plans, &mut each)?;
                }
                Ok(())
            }
            _ => {
                let what = self.what.clone();
                self.read(&what, &plans, &mut each)
            }
        }
    }

    fn read(
        &mut self,
        what: &Source,
        plans: &[ColumnPlan],
        take: &mut dyn FnMut(&Batch),
    ) -> Result<(), Box<TableError>> {
        let place = Place {
            phase: Phase::Read,
            side: self.side,
        };
        let failed = |error| TableError::database(place, error, Some(self.dialect));
        let columns: Vec<Column> = plans.iter().map(|plan| self.own(plan)).collect();
        let targets: Vec<Column> = plans.iter().map(|plan| plan.target.clone()).collect();
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.take(self.endpoint, Purpose::Read, &self.interrupt)?,
        };
        let (lane, _) = choose(&connection, what, &columns, self.lanes)
            .map_err(|reason| TableError::refused(place, "copy.no_lane", reason))?;
        let resources = Resources {
            memory_bytes: self.budget.lane_bytes(),
            sessions: 1,
            interrupt: self.interrupt.clone(),
        };
        let mut reader = lane
            .open(connection, what, &columns, None, &resources)
            .map_err(failed)?;
        let batch_bytes = self.budget.batch_bytes();
        let (mut batch, mut converted) = (Batch::of(&columns), Batch::of(&targets));
        while reader.read(&mut batch, batch_bytes).map_err(failed)? {
            match self.side {
                Side::Target => take(&batch),
                Side::Source => {
                    convert(plans, &mut batch, &mut converted)?;
                    take(&converted);
                    converted.recycle(batch_bytes);
                }
            }
            batch.recycle(batch_bytes);
        }
        self.connection = reader.into_connection();
        Ok(())
    }

    /// Gives the connection back for the next table.
    pub fn end(self) {
        if let Some(connection) = self.connection {
            self.pool.give(Purpose::Read, connection);
        }
    }
}

/// The lane that reads this.
fn choose(
    connection: &Connection,
    what: &Source,
    columns: &[Column],
    lanes: Lanes,
) -> Result<(&'static dyn ReadLane, LaneChoice), String> {
    plan::choose(connection.dialect.read_lanes(), lanes, |lane| {
        match lanes != Lanes::Odbc || lane.name() == "odbc" {
            true => (lane.name(), lane.offer(connection, what, columns, false)),
            false => (lane.name(), Err(String::new())),
        }
    })
}

/// Carries the source's values over to the form of the target's columns.
fn convert(plans: &[ColumnPlan], batch: &mut Batch, converted: &mut Batch) -> Result<(), Box<TableError>> {
    converted.clear();
    converted.first_row = batch.first_row;
    for (position, plan) in plans.iter().enumerate() {
        let result = plan
            .conversion
            .convert(&mut batch.columns[position], &mut converted.columns[position]);
        result.map_err(|refusal| {
            let place = Place {
                phase: Phase::Convert,
                side: Side::Target,
            };
            let mut error = TableError::refused(place, "copy.value_refused", refusal.reason);
            error.column = Some(plan.target.name.clone());
            error.row = Some(batch.first_row + refusal.row as u64);
            error.hint = refusal.hint;
            error
        })?;
    }
    Ok(())
}
