//! Rows that another library in this process hands over into one table: planned, checked, converted and loaded as for a
//! copy, by the same lanes and in one transaction.
//!
//! What differs from a copy: the rows can be read once, so nothing is tried again after the first of them was taken, and no
//! journal knows them again.

use std::time::{Duration, Instant};

use super::{
    call::milliseconds,
    column_selection::NamedColumn,
    dependants::Load,
    drift,
    error::{Phase, Place, Side, TableError},
    heap,
    job::{is_staging_of, parse_target, reach, refused, staging_name},
    journal::lock_name,
    merge,
    pipeline::{self, Budget, Origin},
    plan::{LaneChoice, TablePlan, choose, columns_and_steps, place_of_new, put_around, sides},
    pool::Pool,
    report::TableReport,
    request::{Around, Choices, Endpoint, Lanes, MEMORY_LIMIT_BYTES_MIN, Meeting, Verify},
    run,
    shape::{Make, Making},
    transaction::Beside,
    verification::Verification,
};
use crate::{
    database::{
        Connection, Mode, Purpose, Relation, Source,
        arrow::{Arrow, Rows},
    },
    odbc::{DriverSearch, Interrupt},
};

/// Where rows are to go.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// The database.
    pub target: Endpoint,
    /// The table, `schema.table` or `table`.
    pub table: String,
    /// How an existing table meets the rows.
    pub meeting: Meeting,
    /// Statements around the load, in its transaction.
    pub around: Around,
    /// Which lanes may be taken.
    pub lanes: Lanes,
    /// Bytes that the engine and the client library may hold, beside what the rows take where they are.
    pub memory_limit_bytes: usize,
    /// What becomes of values that the target does not hold, where there is a choice.
    pub choices: Choices,
    /// For how long a database that is starting, waking up or too busy is asked again.
    pub patience: Duration,
}

static ARROW: Arrow = Arrow::DEFAULT;

const PLAN: Place = Place {
    phase: Phase::Plan,
    side: Side::Target,
};

/// Loads all rows, or none.
///
/// # Errors
/// The connection could not be made, or the request makes no sense; what else failed is in the report.
pub fn take_in(
    request: &WriteRequest,
    rows: Rows,
    search: &DriverSearch,
    interrupt: &Interrupt,
) -> Result<TableReport, Box<TableError>> {
    let started = Instant::now();
    let target = parse_target(&request.table)?;
    if request.memory_limit_bytes < MEMORY_LIMIT_BYTES_MIN {
        let limit = request.memory_limit_bytes;
        let message = format!("the memory limit is {limit} bytes, {MEMORY_LIMIT_BYTES_MIN} are the least");
        return Err(refused(Side::Target, "copy.memory_limit", message));
    }
    let pool = Pool::new(search, request.patience);
    let connection = pool.take(&request.target, Purpose::Write, interrupt)?;
    let target = reach((&connection, Side::Target), &[target])?.remove(0);
    let mut report = TableReport {
        source: "arrow".to_owned(),
        table: "data".to_owned(),
        target: target.to_string(),
        mode: request.meeting.mode_name(),
        ..TableReport::default()
    };
    if let Err(error) = carry_out(request, rows, (&pool, connection), interrupt, (&target, &mut report)) {
        report.created = false;
        report.error = Some(error.of(&report.table, &report.target));
    }
    report.retries = pool.retries();
    report.duration_ms = milliseconds(started.elapsed());
    run::log(&report);
    heap::give_back();
    Ok(report)
}

fn carry_out(
    request: &WriteRequest,
    mut rows: Rows,
    (pool, connection): (&Pool<'_>, Connection),
    interrupt: &Interrupt,
    (target, report): (&Relation, &mut TableReport),
) -> Result<(), Box<TableError>> {
    let dialect = connection.dialect;
    let failed = |error| TableError::database(PLAN, error, Some(dialect));
    let schema = dialect.default_schema(&connection.session).map_err(failed)?;
    let named = target.whole(schema.as_ref());
    let lock = lock_name(&named);
    let plan = plan(request, &mut rows, &connection, target, &staging_name(target, lock))?;
    tracing::debug!(event = "copy.plan", plan = %plan, "planned");
    report.created = !plan.exists || request.meeting.mode == Mode::Replace;
    report.read_lane = plan.read_lane.name;
    report.read_lane_reason.clone_from(&plan.read_lane.reason);
    report.narrower.clone_from(&plan.narrower);
    report.not_carried.clone_from(&plan.not_carried);
    report.write_lane = plan.write_lane.name;
    report.write_lane_reason.clone_from(&plan.write_lane.reason);
    let schemas: Vec<String> = named.schema.iter().cloned().collect();
    let mut leftovers = dialect.leftovers(&connection.session, &schemas).map_err(failed)?;
    leftovers.retain(|leftover| is_staging_of(&leftover.name, lock));
    let beside = Beside {
        dialect,
        target: &named,
        lock: dialect.table_lock(lock, named.catalog.as_deref()),
        patience: request.patience,
        journal: None,
        look_first: false,
        leftovers: &leftovers,
        mark: None,
        made: false,
        has_written: false.into(),
    };
    // Also when the work was told to stop.
    let reconnect = || pool.connect_once(&request.target, Purpose::Write, &Interrupt::new());
    let budget = Budget::of(request.memory_limit_bytes, 1);
    let reading = interrupt.child();
    let origin = Origin::Reader(Box::new(rows), &ARROW);
    let interrupts = (&reading, interrupt);
    let done = pipeline::run(
        &plan,
        origin,
        connection,
        interrupts,
        &beside,
        (budget, &|_, _| {}, None),
        &reconnect,
    )?;
    report.ranges = done.ranges;
    report.rows = done.moved.rows;
    report.bytes = done.moved.bytes;
    report.verified = done.verified.by;
    report.rounded_fractions = done.moved.changed.rounded;
    report.nulls_for_infinity = done.moved.changed.infinity;
    report.nulls_for_nan = done.moved.changed.nan;
    report.nulls_for_zero_dates = done.moved.changed.zero_dates;
    Ok(())
}

/// What a plan of a copy says, without a source to be asked.
fn plan(
    request: &WriteRequest,
    rows: &mut Rows,
    connection: &Connection,
    target: &Relation,
    staging: &Relation,
) -> Result<TablePlan, Box<TableError>> {
    let dialect = connection.dialect;
    let existing = dialect.table(&connection.session, target);
    let existing = existing.map_err(|error| TableError::database(PLAN, error, Some(dialect)))?;
    let kept = existing.as_ref().filter(|_| request.meeting.mode != Mode::Replace);
    if let Some(kept) = kept {
        // NULLs have no type of their own, and are at home in every column.
        let of = |name: &str| {
            kept.columns
                .iter()
                .find(|column| column.name.eq_ignore_ascii_case(name))
        };
        rows.retype_nulls(of);
    }
    let around = [&request.around, &Around::default()];
    let load = Load {
        target: connection,
        relation: target,
        mode: request.meeting.mode,
        removes: false,
        around,
        neighbours: None,
    };
    if let Some(existing) = &existing {
        load.check_kind(existing)?;
    }
    let columns: Vec<NamedColumn> = rows.columns().iter().cloned().map(NamedColumn::from).collect();
    let mode = request.meeting.mode;
    let (named, staging) = place_of_new(connection, target, existing.as_ref(), mode, staging)?;
    let (columns, mut steps, mut making) = columns_and_steps(
        &ARROW,
        &columns,
        dialect,
        (&named, existing.as_ref()),
        (mode, request.choices, false),
        &staging,
        &Making::columns_alone,
    )
    .map_err(|mut error| {
        // What helps a copy is no option of a frame.
        let lacks = error.hint.is_some() && error.code == "copy.columns_refused";
        error.hint = match lacks {
            true => Some("leave the column out of the data, or add it to the table".to_owned()),
            false => error.hint,
        };
        error
    })?;
    let mut key_checks = None;
    if let Some(merge) = &request.meeting.merge {
        let made = (&mut making, &Making::columns_alone as &Make<'_>);
        (steps, key_checks) = merge::steps(merge, dialect, (target, existing.as_ref()), &columns, steps, made)?;
    }
    let mut not_carried = Vec::new();
    if let Some(kept) = kept {
        let (moved, stays) = drift::counters(dialect, (target, kept), &columns);
        steps.after.extend(moved);
        not_carried = stays;
    }
    if existing.is_some() {
        let kept = load.look(None, &making)?;
        steps.after.extend(kept.given);
        not_carried.extend(kept.lost);
    }
    put_around(&mut steps, dialect, target, around);
    let verification = Verification::of(
        Verify::Count,
        (request.meeting.mode, existing.is_some()),
        &steps,
        around,
    );
    let mut narrower = Vec::new();
    if let Some(kept) = kept {
        drift::check_required(connection, (target, kept), &columns)?;
        narrower = drift::narrower(&columns, dialect, false);
    }
    let (_, to_columns) = sides(&columns);
    let loaded = kept.map(|_| target);
    let (_, write_lane) = choose(dialect.write_lanes(), request.lanes, |lane| {
        match request.lanes != Lanes::Odbc || lane.name() == "odbc" {
            true => (lane.name(), lane.offer(connection, loaded, &to_columns)),
            false => (lane.name(), Err(String::new())),
        }
    })
    .map_err(|reason| TableError::refused(PLAN, "copy.no_lane", reason))?;
    Ok(TablePlan {
        source: Source::Query(String::new()),
        target: target.clone(),
        mode: request.meeting.mode,
        exists: existing.is_some(),
        columns,
        steps,
        key_checks,
        read_lane: LaneChoice {
            name: "arrow",
            reason: "record batches in this process".to_owned(),
        },
        write_lane,
        wire: None,
        shaping_statements: 0,
        not_carried,
        keys: Vec::new(),
        estimated_rows: None,
        ranges: Vec::new(),
        write_sessions: 1,
        sifted: false,
        unchecked: false,
        narrower,
        verification,
    })
}
