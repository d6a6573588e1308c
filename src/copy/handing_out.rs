//! Rows of one table or query for another library in this process, as Arrow's record batches: planned, checked and converted
//! as for a copy whose target is Arrow's types, and read by the same lanes.
//!
//! Rows are read on a thread of their own, a few batches ahead of the consumer and never more, so that memory does not
//! grow; the consumer's thread converts the batch that it takes. Nothing here needs Python or its GIL.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, TryLockError, Weak,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    column_selection::NamedColumn,
    error::{Phase, Place, Side, TableError},
    heap,
    job::{reach, refused},
    pipeline::{self, BATCHES, Budget},
    plan::{ColumnPlan, TablePlan, choose, columns_and_steps, sides},
    pool::Pool,
    request::{Choice, Choices, Endpoint, Lanes, MEMORY_LIMIT_BYTES_MIN},
    shape::Making,
    verification::Verification,
};
use crate::{
    database::{
        Batch, Column, Connection, Dialect, Error, LoadSteps, LogicalType, Mode, Purpose, ReadLane, Relation,
        Resources, Source,
        arrow::{self, Arrow, ArrowArray, ArrowArrayStream, ArrowSchema, Failure, Field, Producer, Type},
    },
    odbc::{DriverSearch, Interrupt},
};

/// How long a reader is waited for that was told to stop; a driver that does not listen ends later, unheard.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// After more bytes than this the allocator may hold memory worth giving back.
const TRIM_BYTES: usize = 16 << 20;

/// What somebody wants to read.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// Where the rows are.
    pub source: Endpoint,
    /// Which table or query.
    pub what: Source,
    /// Which of Arrow's types columns become.
    pub types: Arrow,
    /// Which lanes may be taken.
    pub lanes: Lanes,
    /// Bytes that the engine and the client library may hold, beside the batches that the consumer keeps.
    pub memory_limit_bytes: usize,
    /// What becomes of values that Arrow's types do not hold, where there is a choice.
    pub choices: Choices,
    /// For how long a database that is starting, waking up or too busy is asked again.
    pub patience: Duration,
}

/// The rows of a table or query, to be read once.
#[derive(Clone)]
pub struct HandedOut {
    shared: Arc<Shared>,
}

struct Shared {
    /// The process that it belongs to: a forked child must not touch its parent's connection.
    process: u32,
    dialect: &'static dyn Dialect,
    plan: TablePlan,
    types: Vec<Type>,
    /// The source, as messages call it.
    source: String,
    table: String,
    budget: Budget,
    interrupt: Interrupt,
    state: Mutex<State>,
    error: Mutex<Option<Box<TableError>>>,
}

enum State {
    /// Nobody has asked for a row.
    Waiting(Box<Connection>, &'static dyn ReadLane),
    Reading(Reading),
    /// Read to the end, failed, or told to stop.
    Ended,
}

struct Reading {
    empty: SyncSender<Batch>,
    full: Receiver<Result<Batch, Error>>,
    thread: JoinHandle<()>,
    converted: Batch,
    rows: u64,
    bytes: usize,
}

const READ: Place = Place {
    phase: Phase::Read,
    side: Side::Source,
};
const PLAN: Place = Place {
    phase: Phase::Plan,
    side: Side::Source,
};

/// Those that are there, for the end of the process.
static ALL: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Stops all reading in this process: client libraries must not be at work when they are unloaded.
pub fn close_all_handed_out() {
    let all = std::mem::take(&mut *ALL.lock().unwrap_or_else(PoisonError::into_inner));
    all.iter().filter_map(Weak::upgrade).for_each(|shared| shared.close());
}

/// Connects, and finds out what the rows look like; none is read before somebody asks for it.
///
/// # Errors
/// A connection that fails, a table that is not there, columns that no type of Arrow's holds.
pub fn hand_out(
    request: ReadRequest,
    search: &DriverSearch,
    interrupt: &Interrupt,
) -> Result<HandedOut, Box<TableError>> {
    let table = match &request.what {
        Source::Table { relation, .. } => relation.to_string(),
        Source::Query(_) => "query".to_owned(),
    };
    open(request, search, interrupt, &table).map_err(|error| error.of(&table, ""))
}

fn open(
    mut request: ReadRequest,
    search: &DriverSearch,
    interrupt: &Interrupt,
    table: &str,
) -> Result<HandedOut, Box<TableError>> {
    if request.memory_limit_bytes < MEMORY_LIMIT_BYTES_MIN {
        let limit = request.memory_limit_bytes;
        let message = format!("the memory limit is {limit} bytes, {MEMORY_LIMIT_BYTES_MIN} are the least");
        return Err(refused(Side::Source, "copy.memory_limit", message));
    }
    let pool = Pool::new(search, request.patience);
    let source = pool.take(&request.source, Purpose::Read, interrupt)?;
    let failed = |error| TableError::database(PLAN, error, Some(source.dialect));
    if let Source::Table { relation, .. } = &mut request.what {
        *relation = reach((&source, Side::Source), std::slice::from_ref(relation))?.remove(0);
    }
    let (mut columns, estimated_rows) = match &request.what {
        Source::Query(sql) => {
            let found = source.dialect.query_columns(&source.session, sql);
            (found.map_err(failed)?, None)
        }
        Source::Table { relation, .. } => {
            let found = source.dialect.table(&source.session, relation).map_err(failed)?;
            let missing = || TableError::refused(PLAN, "copy.no_such_table", format!("there is no table `{relation}`"));
            let found = found.ok_or_else(missing)?;
            (found.columns, found.estimated_rows)
        }
    };
    // No database minds a NULL here; the flag only tells what will come.
    let becomes_null = [
        request.choices.infinity,
        request.choices.nan,
        request.choices.zero_dates,
    ];
    let becomes_null = becomes_null.contains(&Choice::Null);
    for column in &mut columns {
        column.nullable |= becomes_null || !column.from_catalog;
        column.key_position = column.key_position.filter(|_| !column.nullable);
    }
    let target = Relation::new(None, "arrow");
    let columns: Vec<NamedColumn> = columns.into_iter().map(NamedColumn::from).collect();
    let (columns, ..) = columns_and_steps(
        source.dialect,
        &columns,
        &request.types,
        (&target, None),
        (Mode::Append, request.choices, false),
        &target,
        &Making::columns_alone,
    )?;
    let types = columns.iter().map(|column| Type::of(column.target.logical));
    let types = types.collect::<Result<Vec<_>, _>>();
    let types = types.map_err(|reason| TableError::refused(PLAN, "copy.columns_refused", reason))?;
    let (from_columns, _) = sides(&columns);
    let (lane, read_lane) = choose(source.dialect.read_lanes(), request.lanes, |lane| {
        match request.lanes != Lanes::Odbc || lane.name() == "odbc" {
            true => (lane.name(), lane.offer(&source, &request.what, &from_columns, false)),
            false => (lane.name(), Err(String::new())),
        }
    })
    .map_err(|reason| TableError::refused(PLAN, "copy.no_lane", reason))?;
    let plan = TablePlan {
        source: request.what,
        target,
        mode: Mode::Append,
        exists: true,
        columns,
        steps: LoadSteps::default(),
        key_checks: None,
        write_lane: read_lane.clone(),
        read_lane,
        wire: None,
        shaping_statements: 0,
        not_carried: Vec::new(),
        keys: Vec::new(),
        estimated_rows,
        ranges: Vec::new(),
        write_sessions: 1,
        sifted: false,
        unchecked: false,
        narrower: Vec::new(),
        verification: Verification::NOTHING,
    };
    tracing::debug!(event = "read.plan", table, lane = plan.read_lane.name, "planned");
    let shared = Arc::new(Shared {
        process: std::process::id(),
        dialect: source.dialect,
        plan,
        types,
        source: request.source.label,
        table: table.to_owned(),
        budget: Budget::of(request.memory_limit_bytes, 1),
        interrupt: interrupt.clone(),
        state: Mutex::new(State::Waiting(Box::new(source), lane)),
        error: Mutex::default(),
    });
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|other| other.strong_count() > 0);
    all.push(Arc::downgrade(&shared));
    drop(all);
    Ok(HandedOut { shared })
}

impl HandedOut {
    /// The type of the record batches.
    pub fn schema(&self) -> ArrowSchema {
        self.shared.schema()
    }

    /// The rows as a stream. Reading begins with the first batch that is asked for; of several streams the first one that
    /// asks gets all of them, and the others an error.
    ///
    /// # Errors
    /// They are read already, or being read.
    pub fn stream(&self) -> Result<ArrowArrayStream, Box<TableError>> {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Waiting(..) => Ok(arrow::stream_of(Box::new(Stream {
                shared: Arc::clone(&self.shared),
                is_reading: false,
            }))),
            _ if self.shared.interrupt.is_raised() => Err(stopped().of(&self.shared.table, "")),
            State::Reading(_) | State::Ended => Err(self.shared.used_up().of(&self.shared.table, "")),
        }
    }

    /// Why reading ended before its end, if it did.
    pub fn error(&self) -> Option<Box<TableError>> {
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The way out of the database that is taken, and why.
    pub fn lane(&self) -> (&'static str, &str) {
        let lane = &self.shared.plan.read_lane;
        (lane.name, &lane.reason)
    }

    /// Stops reading, and closes the connection.
    pub fn close(&self) {
        self.shared.close();
    }
}

/// What a consumer holds.
struct Stream {
    shared: Arc<Shared>,
    /// Whether this is the stream that reads.
    is_reading: bool,
}

impl Producer for Stream {
    fn schema(&mut self) -> ArrowSchema {
        self.shared.schema()
    }

    fn next_batch(&mut self) -> Result<Option<ArrowArray>, Failure> {
        self.shared.next(&mut self.is_reading).map_err(|error| {
            let error = error.of(&self.shared.table, "");
            let failure = Failure {
                errno: match error.code.as_str() {
                    "copy.cancelled" => libc::ECANCELED,
                    "copy.value_refused" | "copy.value_unreadable" => libc::EINVAL,
                    "copy.over_memory_limit" => libc::ENOMEM,
                    _ => libc::EIO,
                },
                message: CannotRead(&error).to_string(),
            };
            // Who came too late says nothing about the reading.
            if self.is_reading {
                let mut kept = self.shared.error.lock().unwrap_or_else(PoisonError::into_inner);
                kept.get_or_insert(error);
            }
            failure
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.is_reading {
            self.shared.close();
        }
    }
}

impl Shared {
    fn schema(&self) -> ArrowSchema {
        let fields = self.plan.columns.iter().zip(&self.types).map(|(column, kind)| Field {
            name: column.target.name.clone(),
            format: kind.format(),
            nullable: column.target.nullable,
            metadata: match column.source.declared.as_str() {
                "" => Vec::new(),
                declared => vec![("dray.type", declared.to_owned())],
            },
        });
        arrow::schema_of(&fields.collect::<Vec<_>>())
    }

    fn used_up(&self) -> Box<TableError> {
        let message = "the rows have been handed out already, and are read once; ask for them anew".to_owned();
        TableError::refused(READ, "read.used_up", message)
    }

    fn next(&self, is_reading: &mut bool) -> Result<Option<ArrowArray>, Box<TableError>> {
        if self.process != std::process::id() {
            let message = "the rows belong to the process that forked this one; ask for them anew".to_owned();
            return Err(TableError::refused(READ, "read.forked", message));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_reading {
            *state = match std::mem::replace(&mut *state, State::Ended) {
                State::Waiting(connection, lane) => State::Reading(self.begin(*connection, lane)?),
                other => {
                    *state = other;
                    return Err(self.used_up());
                }
            };
            *is_reading = true;
        }
        let State::Reading(reading) = &mut *state else {
            // Also after the end, for whoever asks again.
            let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return match error {
                Some(error) => Err(error),
                None if self.interrupt.is_raised() => Err(stopped()),
                None => Ok(None),
            };
        };
        let taken = self.take(reading);
        let is_last = matches!(taken, Ok(None));
        if is_last || taken.is_err() {
            let ended = std::mem::replace(&mut *state, State::Ended);
            drop(state);
            let joined = self.end(ended, is_last);
            return taken.and_then(|batch| joined.map(|()| batch));
        }
        taken
    }

    /// Starts the thread that reads.
    fn begin(&self, connection: Connection, lane: &'static dyn ReadLane) -> Result<Reading, Box<TableError>> {
        let (empty_sender, empty) = sync_channel::<Batch>(BATCHES);
        let (full_sender, full) = sync_channel::<Result<Batch, Error>>(BATCHES);
        let layouts = || self.plan.columns.iter().map(|column| column.source.logical.layout());
        for _ in 0..BATCHES {
            // There is room for all of them.
            let _ = empty_sender.send(Batch::new(layouts()));
        }
        let (columns, _): (Vec<Column>, _) = sides(&self.plan.columns);
        let (what, budget) = (self.plan.source.clone(), self.budget);
        let resources = Resources {
            memory_bytes: budget.lane_bytes(),
            sessions: 1,
            interrupt: self.interrupt.clone(),
        };
        let read = move || match lane.open(connection, &what, &columns, None, &resources) {
            Ok(reader) => {
                let send = |batch| full_sender.send(batch).ok();
                drop(pipeline::read_all(reader, budget.batch_bytes, &empty, &send));
            }
            Err(error) => drop(full_sender.send(Err(error))),
        };
        let thread = thread::Builder::new().name("dray-read".to_owned()).spawn(read);
        let thread = thread
            .map_err(|error| TableError::refused(READ, "copy.no_thread", format!("no thread to read with: {error}")))?;
        Ok(Reading {
            empty: empty_sender,
            full,
            thread,
            converted: Batch::new(self.plan.columns.iter().map(|column| column.target.logical.layout())),
            rows: 0,
            bytes: 0,
        })
    }

    /// The next batch in Arrow's form; `None` where the reader has no more.
    fn take(&self, reading: &mut Reading) -> Result<Option<ArrowArray>, Box<TableError>> {
        let Ok(message) = reading.full.recv() else {
            return Ok(None);
        };
        let mut batch = message.map_err(|error| pipeline::failed(READ, error, self.dialect, self.budget))?;
        let converted = &mut reading.converted;
        pipeline::convert(&self.plan, &mut batch, converted, &mut super::Changed::default())
            .map_err(|error| self.with_hint(error))?;
        let array = arrow::record_batch(converted, &self.types).map_err(|unfit| {
            let place = Place {
                phase: Phase::Convert,
                side: Side::Source,
            };
            let mut error = TableError::refused(place, "copy.value_refused", unfit.reason.to_owned());
            error.column = Some(self.plan.columns[unfit.column].source.name.clone());
            error.row = Some(converted.first_row + unfit.row as u64);
            error.hint = Some("`timestamps=\"us\"` reads microseconds, which hold the years 1 to 9999".to_owned());
            error
        })?;
        let bytes = converted.bytes();
        reading.rows += converted.rows() as u64;
        reading.bytes += bytes;
        converted.recycle(self.budget.batch_bytes);
        batch.recycle(self.budget.batch_bytes);
        if bytes > 2 * self.budget.batch_bytes {
            heap::give_back();
        }
        // The reader may be done already.
        let _ = reading.empty.send(batch);
        Ok(Some(array))
    }

    /// An error of a decimal whose column got a size that it does not have itself says what else there is.
    fn with_hint(&self, mut error: Box<TableError>) -> Box<TableError> {
        let is_unsized = |column: &&ColumnPlan| {
            Some(&column.target.name) == error.column.as_ref()
                && matches!(column.source.logical, LogicalType::Decimal { .. })
                && column.source.logical != column.target.logical
        };
        if error.hint.is_none() && self.plan.columns.iter().any(|column| is_unsized(&column)) {
            error.hint = Some("`decimals` gives such columns another size, or makes them text".to_owned());
        }
        error
    }

    /// Sees to it that the reader's thread is gone, and the connection with it. One that `is_done` ends by itself.
    ///
    /// # Errors
    /// It has panicked, or was told to stop by somebody: what was taken for the end is none.
    fn end(&self, ended: State, is_done: bool) -> Result<(), Box<TableError>> {
        let State::Reading(Reading {
            empty,
            full,
            thread,
            rows,
            bytes,
            ..
        }) = ended
        else {
            return Ok(());
        };
        drop((empty, full));
        let was_stopped = self.interrupt.is_raised();
        let until = Instant::now() + STOP_PATIENCE;
        while !is_done && !thread.is_finished() {
            if Instant::now() > until {
                tracing::warn!(
                    event = "read.not_stopped",
                    table = self.table,
                    "the driver does not stop"
                );
                return Ok(());
            }
            // Without its channels it ends at its next batch; a driver that is still at work is told to stop.
            self.interrupt.raise();
            thread::sleep(Duration::from_millis(2));
        }
        let joined = thread.join();
        if bytes > TRIM_BYTES {
            heap::give_back();
        }
        match joined {
            Err(_) => {
                let message = "dray's reading thread has panicked".to_owned();
                Err(TableError::refused(READ, "read.panicked", message))
            }
            Ok(()) if was_stopped => Err(stopped()),
            Ok(()) => {
                let (table, lane) = (&self.table, self.plan.read_lane.name);
                tracing::info!(
                    event = "read.table",
                    source = self.source,
                    table,
                    lane,
                    rows,
                    bytes,
                    is_done,
                    "read"
                );
                Ok(())
            }
        }
    }

    fn close(&self) {
        if self.process != std::process::id() {
            return;
        }
        let until = Instant::now() + STOP_PATIENCE;
        loop {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(state)) => state.into_inner(),
                // A consumer waits for a batch.
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    self.interrupt.raise();
                    thread::sleep(Duration::from_millis(2));
                    continue;
                }
                Err(TryLockError::WouldBlock) => return,
            };
            let ended = std::mem::replace(&mut *state, State::Ended);
            if !matches!(ended, State::Ended) {
                self.interrupt.raise();
            }
            drop(state);
            // Nobody is there to be told; speaking to the server happens without the lock.
            let _ = self.end(ended, false);
            return;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            self.close();
            return;
        }
        // A forked child must not say goodbye to the server on its parent's socket.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::forget(std::mem::replace(state, State::Ended));
    }
}

fn stopped() -> Box<TableError> {
    TableError::refused(
        READ,
        "copy.cancelled",
        "stopped before the last row was read".to_owned(),
    )
}

/// An error as a sentence about a table that is read, and not copied.
pub struct CannotRead<'a>(pub &'a TableError);

impl fmt::Display for CannotRead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        write!(f, "cannot read `{}`", error.table)?;
        if let Some(column) = &error.column {
            write!(f, ", column `{column}`")?;
        }
        if let Some(row) = error.row {
            write!(f, ", row {row}")?;
        }
        if let Some(key) = &error.key {
            write!(f, " ({key})")?;
        }
        write!(f, ": {}", error.message)?;
        match &error.hint {
            Some(hint) => write!(f, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}
