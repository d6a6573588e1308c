//! One call from its request to its report: several tables at once, each on a thread of its own.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Instant,
};

use super::{
    around_run,
    call::{Call, milliseconds, table_name},
    catalog::{Catalog, Question},
    error::{OVER_MEMORY_LIMIT, Phase, Place, Side, TableError},
    heap,
    job::{Job, Named, Unlisted, reach, refused},
    listing::{Listing, Listings},
    pipeline::Budget,
    plan::Known,
    pool::Pool,
    progress::Progress,
    rejects,
    report::{Report, TableReport},
    request::{MEMORY_LIMIT_BYTES_MIN, Request},
    schedule::Schedule,
    settling::{Ended, Settled, Settling},
    shard,
};
use crate::{
    database::{Connection, KeyThere, Purpose, Relation, Source},
    odbc::{DriverSearch, Interrupt},
};

/// Most tables at once if the request does not say: more of them load the servers, and share the budget.
const TABLES_MAX: usize = 8;

/// After a table of more bytes than this the allocator may hold memory worth giving back.
const TRIM_BYTES: u64 = 16 << 20;

/// Copies what the request says and reports on every table.
///
/// A table that fails leaves the others whole and is itself as it was before; its error is in its report, and so is that of a
/// source that could not be asked for its tables. `progress`, which is to be a new one, tells how far the call is. `done` is
/// called after each table, on this thread. Once `interrupt` is raised, running tables are rolled back and the others are
/// not begun.
///
/// # Errors
/// If nothing could be begun: a target, or a single source, that cannot be connected to, names or limits that make no sense.
pub fn run(
    request: &Request,
    search: &DriverSearch,
    interrupt: &Interrupt,
    progress: &Progress,
    done: &mut dyn FnMut(&TableReport),
) -> Result<Report, Box<TableError>> {
    progress.logged(|| copy_all(request, search, interrupt, progress, done))
}

/// What is settled before the first table.
pub(super) struct Begun<'a> {
    pub jobs: Vec<Job<'a>>,
    /// The tables of the request that are copied by other shards.
    pub elsewhere: Vec<Job<'a>>,
    /// Parts of the request whose source could not be asked for its tables.
    pub unlisted: Vec<Unlisted>,
    /// The first connection to the target.
    pub target: Connection,
    /// Tables that are copied at once.
    pub at_once: usize,
}

/// Connects to both sides and finds out which tables are meant.
pub(super) fn begin<'a>(
    request: &'a Request,
    pool: &Pool<'_>,
    interrupt: &Interrupt,
) -> Result<Begun<'a>, Box<TableError>> {
    let connecting = interrupt.child();
    // A server takes its time to log somebody in: both sides at once.
    let (meant, target) = thread::scope(|scope| {
        let target = thread::Builder::new()
            .name("dray-target".to_owned())
            .spawn_scoped(scope, || pool.take(&request.target, Purpose::Write, &connecting));
        let meant = jobs_and_first_source(request, pool, interrupt);
        if meant.is_err() {
            connecting.raise();
        }
        (meant, target.map(thread::ScopedJoinHandle::join))
    });
    let (mut jobs, unlisted) = meant?;
    rejects::check(request, &jobs)?;
    // The first connection to the target is made before any table: a wrong password is one error and not three hundred.
    let target = match target {
        Ok(Ok(target)) => target?,
        // No thread, or none that came back.
        _ => pool.take(&request.target, Purpose::Write, interrupt)?,
    };
    target.session.set_interrupt(interrupt);
    let targets: Vec<Relation> = jobs.iter().map(|job| job.target.clone()).collect();
    for (job, reached) in jobs.iter_mut().zip(reach((&target, Side::Target), &targets)?) {
        job.target = reached;
    }
    let mut targets = HashSet::new();
    if let Some(twice) = jobs.iter().find(|job| !targets.insert(&job.target)) {
        let message = format!(
            "several tables would go into `{}`; give them names with `into`",
            twice.target
        );
        return Err(refused(Side::Target, "copy.same_target", message));
    }
    let [jobs, elsewhere] = shard::part(jobs, request)?;
    if request.memory_limit_bytes < MEMORY_LIMIT_BYTES_MIN {
        let message = format!(
            "the memory limit is {} bytes, {MEMORY_LIMIT_BYTES_MIN} are the least",
            request.memory_limit_bytes
        );
        return Err(refused(Side::Target, "copy.memory_limit", message));
    }
    let at_once = tables_at_once(request, jobs.len(), target.dialect.writers_max());
    Ok(Begun {
        jobs,
        elsewhere,
        unlisted,
        target,
        at_once,
    })
}

fn copy_all(
    request: &Request,
    search: &DriverSearch,
    interrupt: &Interrupt,
    progress: &Progress,
    done: &mut dyn FnMut(&TableReport),
) -> Result<Report, Box<TableError>> {
    let started = Instant::now();
    let pool = Pool::new(search, request.patience);
    let Begun {
        jobs,
        elsewhere,
        unlisted,
        target,
        at_once,
    } = begin(request, &pool, interrupt)?;
    let unlisted: Vec<TableReport> = unlisted.into_iter().map(TableReport::from).collect();
    for table in &unlisted {
        log(table);
        done(table);
    }
    if jobs.is_empty() {
        // A shard may have none.
        return Ok(Report {
            tables: unlisted,
            duration_ms: milliseconds(started.elapsed()),
            retries: pool.retries(),
            ..Report::default()
        });
    }
    rejects::make_folder(request)?;
    around_run::before(request, &target)?;
    pool.keep_at_most(idle_sources_max(&jobs, request, at_once));
    let call = Call::begin(request, [&jobs, &elsewhere], (&pool, &target, interrupt))?;
    let schedule = schedule(&jobs, request, at_once, &call);
    let question = |index: usize| match call.finished_before(index) {
        None if schedule.is_free(index) => Question::Both,
        None if jobs[index].source.string != request.target.string => Question::Source,
        _ => Question::None,
    };
    // Where all tables are begun at once, or one after the other, their sizes change nothing.
    let sizes = at_once > 1 && jobs.len() > at_once;
    let catalog = Catalog::read(&call.neighbours, (&pool, &target, interrupt), question, sizes);
    let schedule = match sizes {
        true => schedule.largest_first(&(0..jobs.len()).map(|index| catalog.bytes(index)).collect::<Vec<_>>()),
        false => schedule,
    };
    let mut settling = Settling::new(target, jobs.len(), &pool).map_err(|error| {
        let place = Place {
            phase: Phase::Plan,
            side: Side::Target,
        };
        TableError::database(place, error, None)
    })?;
    tracing::debug!(event = "copy.begun", tables = jobs.len(), at_once, "copying");
    let names = |job: &Job<'_>| (job.source.label.clone(), table_name(job), job.target.to_string());
    progress.begin(jobs.iter().map(names));
    for (index, job) in jobs.iter().enumerate() {
        if let Some(table) = progress.table(index) {
            table.expect(
                catalog
                    .known(index)
                    .source
                    .and_then(|table| job.estimate(table.estimated_rows)),
            );
        }
    }

    let mut tables: Vec<Option<TableReport>> = jobs.iter().map(|_| None).collect();
    // Tells of what is certain, and gives the rest.
    let mut tell = |settled: Settled| {
        for (index, table) in settled.certain {
            log(&table);
            done(&table);
            tables[index] = Some(table);
        }
        settled.doubted
    };
    // Tables with a value that did not fit into their part of the budget, or whose commit has to be looked at.
    let mut again = Vec::new();
    let budget = Budget::of(request.memory_limit_bytes, at_once);
    let spawned = thread::scope(|scope| {
        let (sender, receiver) = channel();
        for number in 0..at_once {
            let (sender, schedule, catalog, call) = (sender.clone(), &schedule, &catalog, &call);
            let work = move || {
                while let Some(turn) = schedule.next(|| call.is_over()) {
                    let known = catalog.known(turn.index);
                    let mut table = call.copy_table(turn.index, known, budget, progress.table(turn.index));
                    table.worker = number;
                    // The receiver lives as long as this scope.
                    let _ = sender.send((turn.index, table));
                }
            };
            let thread = thread::Builder::new().name("dray-table".to_owned());
            match thread.spawn_scoped(scope, work) {
                Ok(_) => {}
                // The others do it all.
                Err(error) if number > 0 => tracing::warn!(event = "copy.no_thread", error = %error, "fewer at once"),
                Err(error) => {
                    let message = format!("no thread to copy with: {error}");
                    return Err(refused(Side::Target, "copy.no_thread", message));
                }
            }
        }
        drop(sender);
        loop {
            let (index, table) = match receiver.recv_timeout(settling.patience()) {
                Ok(ended) => ended,
                Err(RecvTimeoutError::Timeout) => {
                    again.extend(tell(settling.pass()));
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let is_over = table
                .error
                .as_ref()
                .is_some_and(|error| error.code == OVER_MEMORY_LIMIT);
            match is_over && at_once > 1 {
                true => again.push((index, table)),
                false => again.extend(tell(settling.take((index, table)))),
            }
        }
    });
    spawned?;
    again.extend(tell(settling.settle()));
    again.sort_by_key(|(index, _)| *index);
    let budget = Budget::of(request.memory_limit_bytes, 1);
    let look = |(index, table): Ended| {
        let table = call.look_again(index, table, budget, progress.table(index));
        Settled::certain((index, table))
    };
    for (index, mut table) in again {
        if table.error.is_none() {
            tell(look((index, table)));
            continue;
        }
        if !interrupt.is_raised() {
            tracing::info!(
                event = "copy.again_alone",
                table = table.table,
                "again, with the whole memory limit"
            );
            table = call.copy_table(index, Known::default(), budget, progress.table(index));
        }
        for doubted in tell(settling.take((index, table))) {
            tell(look(doubted));
        }
    }
    for doubted in tell(settling.settle()) {
        tell(look(doubted));
    }
    drop(settling);
    let not_begun: Vec<usize> = (0..jobs.len()).filter(|index| tables[*index].is_none()).collect();
    for index in not_begun {
        let table = call.not_begun(index, progress.table(index));
        log(&table);
        done(&table);
        tables[index] = Some(table);
    }
    call.add_foreign_keys(&mut tables);
    let tables: Vec<TableReport> = tables.into_iter().flatten().chain(unlisted).collect();
    let is_whole = tables.iter().all(|table| table.error.is_none());
    let after = match is_whole && !interrupt.is_raised() {
        true => around_run::after(request, &pool, interrupt),
        false => Ok(()),
    };
    if let Err(error) = &after {
        tracing::error!(
            event = "copy.after_run_failed",
            code = error.code,
            hint = error.hint,
            "{error}"
        );
    }
    drop(call);
    let retries = pool.retries();
    drop(pool);
    if tables
        .iter()
        .any(|table| table.bytes > TRIM_BYTES || table.error.is_some())
    {
        heap::give_back();
    }
    Ok(Report {
        rows: tables.iter().map(|table| table.rows).sum(),
        bytes: tables.iter().map(|table| table.bytes).sum(),
        tables,
        duration_ms: milliseconds(started.elapsed()),
        retries,
        error: after.err(),
    })
}

/// The tables that the request means, and the parts of it whose source could not be asked; and, if none of the sources had to
/// be, a connection to the first one for the table that begins.
fn jobs_and_first_source<'a>(
    request: &'a Request,
    pool: &Pool<'_>,
    interrupt: &Interrupt,
) -> Result<(Vec<Job<'a>>, Vec<Unlisted>), Box<TableError>> {
    let parts: Vec<Named<'a>> = request.copies.iter().map(Named::read).collect::<Result<_, _>>()?;
    let listings = Listings::read(parts.iter().filter_map(Named::question), pool, interrupt);
    let (mut jobs, mut unlisted) = (Vec::new(), Vec::new());
    for (part, copy) in parts.iter().zip(&request.copies) {
        let answer = part.question().and_then(|_| listings.of(&copy.source));
        match answer {
            None => jobs.extend(part.jobs(&Listing::default())?),
            Some(Ok(listing)) => jobs.extend(part.jobs(listing)?),
            // Told to stop, or there is nothing else to copy.
            Some(Err(error)) if interrupt.is_raised() || request.copies.len() == 1 => {
                return Err(Box::new(error.clone()));
            }
            Some(Err(error)) => unlisted.push(part.unlisted(error)),
        }
    }
    if let Some(first) = jobs.first() {
        pool.prepare(first.source, Purpose::Read, interrupt);
    }
    Ok((jobs, unlisted))
}

/// How many connections to sources are kept for the next tables: as many as are used at a time, or one for each source.
fn idle_sources_max(jobs: &[Job<'_>], request: &Request, at_once: usize) -> usize {
    let sources: HashSet<String> = jobs.iter().map(|job| job.source.string.reveal()).collect();
    sources.len().max(at_once * request.ranges.unwrap_or(1))
}

/// How many tables are copied at once: as many as were asked for or as there are cores, two at least since servers take
/// their time as well; but no more than each has its part of the budget for, and than the target can take.
fn tables_at_once(request: &Request, jobs: usize, writers_max: Option<usize>) -> usize {
    let of_cores = || {
        thread::available_parallelism()
            .map_or(1, NonZeroUsize::get)
            .clamp(2, TABLES_MAX)
    };
    request
        .parallel
        .unwrap_or_else(of_cores)
        .min(request.memory_limit_bytes / MEMORY_LIMIT_BYTES_MIN)
        .min(writers_max.unwrap_or(usize::MAX))
        .min(jobs)
        .max(1)
}

/// The order of the tables: that of the request, but those that others refer to come before them. One waits for an earlier
/// one where copying both at once could end otherwise than one after the other.
fn schedule(jobs: &[Job<'_>], request: &Request, at_once: usize, call: &Call<'_, '_>) -> Schedule {
    let ranks = call.neighbours.order(&request.target.string);
    if at_once == 1 {
        return Schedule::new(&ranks, []);
    }
    let mut conflicts: Vec<(usize, usize)> = Vec::new();
    let mut writers: HashMap<&Relation, usize> = HashMap::new();
    for (index, written) in call.targets.iter().enumerate() {
        // Two spellings of one table.
        conflicts.extend(writers.insert(written, index).map(|other| (other, index)));
    }
    let of_key = |key: &KeyThere| Some((*writers.get(&key.referring)?, *writers.get(&key.referred)?));
    conflicts.extend(call.neighbours.keys.iter().filter_map(of_key));
    // What a job reads in the target's own database; a query may read anything there.
    for (reader, job) in jobs.iter().enumerate() {
        match &job.what {
            _ if job.source.string != request.target.string => {}
            Source::Table { relation, .. } => {
                let writer = writers.get(&relation.whole(call.schema.as_ref()));
                conflicts.extend(writer.map(|writer| (reader, *writer)));
            }
            Source::Query(_) => conflicts.extend((0..jobs.len()).map(|writer| (reader, writer))),
        }
    }
    Schedule::new(&ranks, conflicts)
}

/// Tells the log of a table that has ended.
pub(super) fn log(table: &TableReport) {
    if table.rejected > 0 {
        tracing::warn!(
            event = "copy.rejects",
            source = table.source,
            table = table.table,
            target = table.target,
            rejected = table.rejected,
            file = table.rejects_file,
            "the target has refused rows, which are in the file"
        );
    }
    match &table.error {
        None if table.skipped => tracing::info!(
            event = "copy.table_skipped",
            source = table.source,
            table = table.table,
            target = table.target,
            rows = table.rows,
            bytes = table.bytes,
            "an earlier run of the same id has copied the table"
        ),
        None => tracing::info!(
            event = "copy.table",
            source = table.source,
            table = table.table,
            target = table.target,
            rows = table.rows,
            bytes = table.bytes,
            duration_ms = table.duration_ms,
            worker = table.worker,
            read_lane = table.read_lane,
            write_lane = table.write_lane,
            rejected = table.rejected,
            "table copied"
        ),
        Some(error) => tracing::error!(
            event = "copy.table_failed",
            source = table.source,
            table = table.table,
            target = table.target,
            code = error.code,
            hint = error.hint,
            duration_ms = table.duration_ms,
            worker = table.worker,
            rejected = table.rejected,
            "{error}"
        ),
    }
}
