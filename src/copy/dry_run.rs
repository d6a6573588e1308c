//! What a call would do, in plain values; nothing is changed.

use serde::Serialize;

use super::{
    call::table_name,
    catalog::{Catalog, Question},
    error::{Phase, Place, Side, TableError},
    job::{Job, staging_name},
    journal::lock_name,
    pipeline::Budget,
    plan::{self, TablePlan, Wishes},
    pool::Pool,
    ranges,
    request::{OnReject, Request},
    run::{Begun, begin},
    shape::Neighbours,
};
use crate::{
    database::{Connection, NewKey, Purpose, Relation, WireFormat},
    odbc::{DriverSearch, Interrupt},
};

/// What a call would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DryRun {
    /// The target's name as it was given; its connection string is masked.
    pub target: String,
    /// Tables that would be copied at once.
    pub tables_at_once: usize,
    /// By how much the process may grow.
    pub memory_limit_bytes: usize,
    /// One entry a table, in the order of the request.
    pub tables: Vec<PlannedTable>,
    /// Statements that would be run once at the target, before the first table.
    pub before_run: Vec<String>,
    /// Statements that would be run once at the target, after the last table.
    pub after_run: Vec<String>,
}

/// What would be done with one table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlannedTable {
    /// The source's name as it was given; its connection string is masked.
    pub source: String,
    /// The source table, or `query`.
    pub table: String,
    /// The table in the target.
    pub target: String,
    /// `append`, `truncate` or `replace`.
    pub mode: &'static str,
    /// Whether the target table is there already.
    pub exists: bool,
    /// How many rows the source believes to have; `None` where it does not know, for queries, and with a condition.
    pub estimated_rows: Option<u64>,
    /// The lane out, and why.
    pub read_lane: &'static str,
    /// Why this lane, and why none before it.
    pub read_lane_reason: String,
    /// The lane in.
    pub write_lane: &'static str,
    /// Why this lane, and why none before it.
    pub write_lane_reason: String,
    /// The form in which rows pass from one to the other unparsed, if they do.
    pub unparsed_as: Option<&'static str>,
    /// The columns in the source's order.
    pub columns: Vec<PlannedColumn>,
    /// The statements around the load, in order; the rows come after the last one of phase `before`.
    pub statements: Vec<Statement>,
    /// What the source table, or the one that is replaced, has and a table that the copy makes will lack.
    pub not_carried: Vec<String>,
    /// Why it cannot be copied, if that is known already.
    pub error: Option<Box<TableError>>,
    /// The conditions of the ranges that it is read in, without values of text; none if it is read in one.
    pub ranges: Vec<String>,
    /// Columns of the target, which is there, that hold fewer values than those of the source.
    pub narrower: Vec<String>,
}

/// One column's way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedColumn {
    /// Its name in the source.
    pub source: String,
    /// Its type there, in the product's own words.
    pub source_type: String,
    /// Its name in the target.
    pub target: String,
    /// Its type there.
    pub target_type: String,
}

/// A statement that would be run at the target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// `before` the rows, `after` them, `after_commit`, `cleanup`, or `after_tables`: when all tables of the call are there.
    pub when: &'static str,
    /// Its text.
    pub sql: String,
}

/// Plans what the request says, table after table, and changes nothing. A table that cannot be planned has its error in its
/// entry.
///
/// # Errors
/// Those of [`super::run()`].
pub fn dry_run(request: &Request, search: &DriverSearch, interrupt: &Interrupt) -> Result<DryRun, Box<TableError>> {
    let pool = Pool::new(search, request.patience);
    let Begun {
        jobs,
        elsewhere,
        unlisted,
        target,
        at_once,
    } = begin(request, &pool, interrupt)?;
    // Nothing changes meanwhile, so all can be asked about at once.
    let neighbours = neighbours([&jobs, &elsewhere], request, &target)?;
    let catalog = Catalog::read(&neighbours, (&pool, &target, interrupt), |_| Question::Both, false);
    pool.give(Purpose::Write, target);
    let mut tables = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        let mut planned = PlannedTable {
            source: job.source.label.clone(),
            table: table_name(job),
            target: job.target.to_string(),
            mode: job.options.meeting.mode_name(),
            ..PlannedTable::default()
        };
        let budget = Budget::of(request.memory_limit_bytes, at_once);
        match plan_table(
            (&neighbours, index),
            request,
            catalog.known(index),
            budget,
            (&pool, interrupt),
        ) {
            Ok((plan, keys)) => planned.fill(&plan, keys),
            Err(error) => planned.error = Some(error.of(&planned.table, &planned.target)),
        }
        tables.push(planned);
    }
    tables.extend(unlisted.into_iter().map(|part| PlannedTable {
        source: part.source,
        table: part.table,
        target: part.target,
        mode: part.mode,
        error: Some(part.error),
        ..PlannedTable::default()
    }));
    Ok(DryRun {
        target: request.target.label.clone(),
        tables_at_once: at_once,
        memory_limit_bytes: request.memory_limit_bytes,
        tables,
        before_run: request.around_run.before.clone(),
        after_run: request.around_run.after.clone(),
    })
}

/// The tables of the call as neighbours.
fn neighbours<'a>(
    [jobs, elsewhere]: [&'a [Job<'a>]; 2],
    request: &Request,
    target: &Connection,
) -> Result<Neighbours<'a>, Box<TableError>> {
    let place = Place {
        phase: Phase::Plan,
        side: Side::Target,
    };
    let failed = |error| TableError::database(place, error, Some(target.dialect));
    let schema = target.dialect.default_schema(&target.session).map_err(failed)?;
    let targets: Vec<Relation> = jobs.iter().map(|job| job.target.whole(schema.as_ref())).collect();
    let keys = target.dialect.foreign_keys(&target.session, &targets);
    Ok(Neighbours::new(
        [jobs, elsewhere],
        targets,
        request.schema,
        keys.map_err(failed)?,
    ))
}

/// The plan of a table, and the statements after all tables.
fn plan_table(
    (neighbours, index): (&Neighbours<'_>, usize),
    request: &Request,
    known: plan::Known,
    budget: Budget,
    (pool, interrupt): (&Pool<'_>, &Interrupt),
) -> Result<(TablePlan, Vec<String>), Box<TableError>> {
    let job = &neighbours.jobs()[index];
    let source = pool.take(job.source, Purpose::Read, interrupt)?;
    let target = pool.take(&request.target, Purpose::Write, interrupt)?;
    let wishes = Wishes {
        mode: job.options.meeting.mode,
        merge: job.options.meeting.merge.as_ref(),
        columns: &job.options.columns,
        add_columns: request.add_columns,
        narrower: request.narrower,
        constraints: request.constraints,
        lanes: request.lanes,
        choices: request.choices,
        unparsed: true,
        sifted: request.on_reject != OnReject::Fail,
        around: [&request.around, &job.options.around],
        ranges: request.ranges.unwrap_or(1).min(ranges::readers_max(budget)),
        verify: request.verify,
        neighbours: (neighbours, index),
    };
    // A load's own has another tag, and its lock the schema that the target has by default.
    let staging = staging_name(&job.target, lock_name(&job.target));
    let plan = plan::plan((&source, &job.what), (&target, &job.target), known, wishes, &staging)?;
    let key = |key: &NewKey| {
        let table = &neighbours.targets()[index];
        key.statement(target.dialect, table, &key.name(table, |_| true))
    };
    let keys = plan.keys.iter().map(key).collect();
    // What was set up for one source must not stay for another; that the rollback fails is the next table's to find out.
    if source.session.rollback().is_ok() {
        pool.give(Purpose::Read, source);
    }
    if target
        .dialect
        .setup_beside_source(&target.string, &job.source.string)
        .is_empty()
    {
        pool.give(Purpose::Write, target);
    }
    Ok((plan, keys))
}

impl PlannedTable {
    fn fill(&mut self, plan: &TablePlan, keys: Vec<String>) {
        self.exists = plan.exists;
        self.estimated_rows = plan.estimated_rows;
        self.read_lane = plan.read_lane.name;
        self.read_lane_reason.clone_from(&plan.read_lane.reason);
        self.write_lane = plan.write_lane.name;
        self.write_lane_reason.clone_from(&plan.write_lane.reason);
        self.ranges = plan.ranges.iter().map(|range| range.shown.clone()).collect();
        self.unparsed_as = plan.wire.map(|WireFormat { name, .. }| name);
        self.not_carried.clone_from(&plan.not_carried);
        self.narrower.clone_from(&plan.narrower);
        let column = |column: &plan::ColumnPlan| PlannedColumn {
            source: column.source.name.clone(),
            source_type: column.source.declared.clone(),
            target: column.target.name.clone(),
            target_type: column.target.declared.clone(),
        };
        self.columns = plan.columns.iter().map(column).collect();
        let steps = &plan.steps;
        let phases = [
            ("before", &steps.before),
            ("after", &steps.after),
            ("after_commit", &steps.after_commit),
            ("cleanup", &steps.cleanup),
            ("after_tables", &keys),
        ];
        self.statements = phases
            .into_iter()
            .flat_map(|(when, statements)| statements.iter().map(move |sql| Statement { when, sql: sql.clone() }))
            .collect();
    }
}
