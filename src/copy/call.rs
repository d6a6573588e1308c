//! The tables of one call, one after the other: what each has to do with earlier runs, how often it is tried, and what is
//! reported of it.
//!
//! Knows the journal, the policy of retries and the plan; which table is next, and on which thread, is `run`'s.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    error::{IN_DOUBT, OVER_MEMORY_LIMIT, Phase, Place, Side, TableError},
    foreign_keys::{Due, Keys},
    job::{Job, is_staging_of, staging_name},
    journal::{Entry, Finished, Journal, MarkMove, lock_name},
    pipeline::{self, Budget, Origin},
    plan::{self, Known, Wishes},
    pool::Pool,
    progress::TableProgress,
    ranges,
    rejects::Rejects,
    report::{Retry, TableReport},
    request::{MergeKind, OnReject, Request, RunOrigin},
    retry::{self, Attempts, Circumstances, Decision},
    settling,
    shape::Neighbours,
    transaction::Beside,
    watermark::{self, Window},
};
use crate::{
    database::{Class, Connection, Dialect, Mode, Purpose, Relation, Source},
    odbc::{ConnectionString, Interrupt},
};

/// The schemas of these tables, each once.
pub(super) fn schemas_of(tables: &[Relation]) -> Vec<String> {
    let mut schemas: Vec<String> = tables.iter().filter_map(|table| table.schema.clone()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    schemas
}

/// What the tables of a call have in common.
pub(super) struct Call<'a, 'pool> {
    request: &'a Request,
    jobs: &'a [Job<'a>],
    pool: &'a Pool<'pool>,
    /// The target's.
    dialect: &'static dyn Dialect,
    interrupt: &'a Interrupt,
    /// The target's default schema, if it has any.
    pub schema: Option<String>,
    /// Each table's target, with its schema.
    pub targets: Vec<Relation>,
    journal: Option<Journal>,
    /// Each table's place in the journal.
    entries: Vec<Option<Entry>>,
    /// Tables that loads which were killed have left at the target, of these tables or others.
    leftovers: Vec<Relation>,
    /// For each table, whether the journal is to be looked at though this call has copied it.
    is_lost_perhaps: Vec<AtomicBool>,
    /// Connections with which no more tables are begun, since each would fail as one has.
    given_up: Mutex<Vec<(ConnectionString, Box<TableError>)>>,
    /// The tables as neighbours.
    pub neighbours: Neighbours<'a>,
    /// Foreign keys of tables that were made.
    due: Mutex<Due>,
    /// Tables that an earlier run of the same id has made.
    made_before: Mutex<Vec<usize>>,
}

impl<'a, 'pool> Call<'a, 'pool> {
    /// Asks the target what there is of earlier runs; `elsewhere` are the tables of other shards.
    pub fn begin(
        request: &'a Request,
        [jobs, elsewhere]: [&'a [Job<'a>]; 2],
        (pool, target, interrupt): (&'a Pool<'pool>, &Connection, &'a Interrupt),
    ) -> Result<Self, Box<TableError>> {
        let place = Place {
            phase: Phase::Plan,
            side: Side::Target,
        };
        let failed = |error| TableError::database(place, error, Some(target.dialect));
        let schema = target.dialect.default_schema(&target.session).map_err(failed)?;
        let targets: Vec<Relation> = jobs.iter().map(|job| job.target.whole(schema.as_ref())).collect();
        let run = request.run.as_ref();
        let appends = jobs.iter().any(|job| job.options.meeting.mode_name() == "append");
        if appends && run.is_some_and(|run| run.origin == RunOrigin::Batch) {
            tracing::warn!(
                event = "copy.run_id_of_batch",
                "append under the ids of the Batch task alone: a retry of the activity is another task, and appends again; \
                 hand `@pipeline().RunId` over as the extended property `run_id`"
            );
        }
        let wants_marks = jobs.iter().any(|job| job.options.meeting.is_incremental());
        let mut journal = match run.is_some() || wants_marks {
            true => Journal::open(run, wants_marks, target, schema.as_deref())?,
            false => None,
        };
        let entry = |(job, table): (&Job<'_>, &Relation)| {
            journal
                .as_ref()?
                .entry(job, table, &request.target)
                .map(|entry| entry.of_shard(request.shard))
        };
        let entries: Vec<Option<Entry>> = jobs.iter().zip(&targets).map(entry).collect();
        // After the journal: a table that a row of it speaks of, and that is not listed here, has taken its place.
        let leftovers = target
            .dialect
            .leftovers(&target.session, &schemas_of(&targets))
            .map_err(failed)?;
        for (entry, table) in entries.iter().zip(&targets) {
            let lock = lock_name(table);
            let is_left = leftovers.iter().any(|leftover| is_staging_of(&leftover.name, lock));
            if let Some((journal, entry)) = journal.as_mut().zip(entry.as_ref()).filter(|_| is_left) {
                journal.doubt(entry);
            }
        }
        // One table alone has nothing to do with others.
        let keys = match jobs.len() {
            0 | 1 => Vec::new(),
            _ => target.dialect.foreign_keys(&target.session, &targets).map_err(failed)?,
        };
        let neighbours = Neighbours::new([jobs, elsewhere], targets.clone(), request.schema, keys);
        Ok(Call {
            request,
            jobs,
            pool,
            dialect: target.dialect,
            interrupt,
            schema,
            targets,
            journal,
            entries,
            leftovers,
            is_lost_perhaps: jobs.iter().map(|_| AtomicBool::new(false)).collect(),
            given_up: Mutex::default(),
            neighbours,
            due: Mutex::default(),
            made_before: Mutex::default(),
        })
    }

    /// Adds the foreign keys, when all tables have ended.
    pub fn add_foreign_keys(&self, reports: &mut [Option<TableReport>]) {
        let take = |due: &Mutex<Due>| std::mem::take(&mut *due.lock().unwrap_or_else(PoisonError::into_inner));
        let keys = Keys {
            neighbours: &self.neighbours,
            pool: self.pool,
            target: &self.request.target,
            dialect: self.dialect,
            interrupt: self.interrupt,
        };
        let made_before = self.made_before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        keys.add(take(&self.due), &made_before, reports);
    }

    /// Notes a table that is skipped, which may lack foreign keys of its source.
    fn note_skipped(&self, index: usize, finished: &Finished) {
        if finished.made && self.neighbours.is_full() {
            self.made_before
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(index);
        }
    }

    /// What an earlier run of the same id has finished of a table.
    pub fn finished_before(&self, index: usize) -> Option<&Finished> {
        self.journal.as_ref()?.finished(self.entries[index].as_ref()?)
    }

    /// Whether no more tables are to be begun.
    pub fn is_over(&self) -> bool {
        self.interrupt.is_raised() || self.why_given_up(&self.request.target.string).is_some()
    }

    /// Begins no more tables with the connection that this error comes from.
    fn give_up(&self, job: &Job<'_>, error: &TableError) {
        let string = match error.side {
            Side::Source => &job.source.string,
            Side::Target => &self.request.target.string,
        };
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if !given_up.iter().any(|(other, _)| other == string) {
            given_up.push((string.clone(), Box::new(error.clone())));
        }
    }

    fn why_given_up(&self, string: &ConnectionString) -> Option<Box<TableError>> {
        let given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        let found = given_up.iter().find(|(other, _)| other == string);
        found.map(|(_, error)| error.clone())
    }

    /// Why a table is not begun, if one of its connections is given up.
    fn not_begun_for(&self, job: &Job<'_>) -> Option<Box<TableError>> {
        let error = self
            .why_given_up(&self.request.target.string)
            .or_else(|| self.why_given_up(&job.source.string))?;
        let place = Place {
            phase: error.phase,
            side: error.side,
        };
        let message = format!("not begun, the connection was given up: {}", error.message);
        let mut not_begun = TableError::refused(place, NOT_BEGUN, message);
        not_begun.hint = error.hint;
        Some(not_begun)
    }

    /// What is reported of a table that nobody has begun.
    pub fn not_begun(&self, index: usize, progress: Option<&TableProgress>) -> TableReport {
        let job = &self.jobs[index];
        let mut report = report_of(job);
        let error = self.not_begun_for(job).unwrap_or_else(|| {
            let place = Place {
                phase: Phase::Plan,
                side: Side::Source,
            };
            TableError::refused(place, "copy.cancelled", "not begun, the call was stopped".to_owned())
        });
        report.error = Some(error.of(&report.table, &report.target));
        if let Some(progress) = progress {
            progress.end(&report);
        }
        report
    }

    /// Copies a table, and tells `progress` how far it is.
    pub fn copy_table(
        &self,
        index: usize,
        known: Known,
        budget: Budget,
        progress: Option<&TableProgress>,
    ) -> TableReport {
        let started = Instant::now();
        let job = &self.jobs[index];
        let mut report = report_of(job);
        report.started_ms = progress.map_or(0, TableProgress::begin);
        let result = match (self.finished_before(index), self.not_begun_for(job)) {
            (Some(finished), _) => {
                report.skip(finished);
                self.note_skipped(index, finished);
                Ok(())
            }
            (None, Some(error)) => Err(error),
            (None, None) => self.try_table(index, known, budget, (progress, &mut report)),
        };
        match result {
            Ok(()) => self.entries[index].iter().for_each(Entry::count),
            Err(error) => {
                report.created = false;
                report.ranges = 0;
                report.error = Some(error.of(&report.table, &report.target));
            }
        }
        report.duration_ms = milliseconds(started.elapsed());
        if let Some(progress) = progress {
            progress.end(&report);
        }
        report
    }

    /// What became of a table that was committed, and of which the server may have lost all: the journal tells, and the table
    /// is copied again if it has. Without a journal it has failed.
    pub fn look_again(
        &self,
        index: usize,
        mut table: TableReport,
        budget: Budget,
        progress: Option<&TableProgress>,
    ) -> TableReport {
        if self.entries[index].is_none() {
            settling::doubt(&mut table);
            return table;
        }
        self.is_lost_perhaps[index].store(true, Ordering::Relaxed);
        let started = Instant::now();
        let mut again = table.clone();
        let result = self.try_table(index, Known::default(), budget, (progress, &mut again));
        match result {
            Ok(()) if again.skipped => return table,
            Ok(()) => {}
            Err(error) => {
                again.rows = 0;
                again.created = false;
                again.ranges = 0;
                again.error = Some(error.of(&again.table, &again.target));
            }
        }
        again.duration_ms += milliseconds(started.elapsed());
        again
    }

    /// Copies a table as often as the policy says.
    fn try_table(
        &self,
        index: usize,
        mut known: Known,
        budget: Budget,
        (progress, report): (Option<&TableProgress>, &mut TableReport),
    ) -> Result<(), Box<TableError>> {
        let job = &self.jobs[index];
        let circumstances = Circumstances {
            // The pool has tried to connect for as long as that makes sense.
            reached_before: false,
            has_journal: self.entries[index].is_some(),
        };
        let mut attempts = Attempts::new(self.request.patience);
        let (mut unparsed, mut left, mut parted) = (true, Vec::new(), true);
        loop {
            let ways = (unparsed, parted);
            let attempt = (std::mem::take(&mut known), ways, attempts.are_several(), &mut left);
            let Err(error) = self.carry_out(index, attempt, budget, (progress, report)) else {
                return Ok(());
            };
            if error.code == IN_DOUBT && unparsed {
                tracing::debug!(
                    event = "copy.again_parsed",
                    table = report.table,
                    "again, value by value: {error}"
                );
                unparsed = false;
                continue;
            }
            if error.code == OVER_MEMORY_LIMIT && parted && report.ranges > 1 {
                tracing::debug!(
                    event = "copy.again_in_one",
                    table = report.table,
                    "again, in one range: {error}"
                );
                parted = false;
                continue;
            }
            let wait = match attempts.decide(&error, circumstances) {
                Decision::Again(wait) if !error.is_connection() => wait,
                decision => {
                    // The pool has asked for as long as that makes sense; each other table would ask as long again.
                    let is_out_of_reach = error.is_connection()
                        && error.side == Side::Source
                        && !self.pool.has_reached(&job.source.string);
                    if decision == Decision::Stop || is_out_of_reach {
                        self.give_up(job, &error);
                    }
                    return Err(error);
                }
            };
            if error.class == Some(Class::ConnectionLost) {
                self.pool.forget(&job.source.string);
                self.pool.forget(&self.request.target.string);
            }
            tracing::warn!(
                event = "copy.table_again",
                source = report.source,
                table = report.table,
                target = report.target,
                code = error.code,
                wait_ms = milliseconds(wait),
                "the table is copied again after a failure: {}",
                error.message
            );
            report.retries.push(Retry::after(&error, wait));
            if retry::sleep(wait, self.interrupt).is_err() {
                return Err(error);
            }
        }
    }

    fn carry_out(
        &self,
        index: usize,
        (mut known, (unparsed, parted), again, left): (Known, (bool, bool), bool, &mut Vec<Relation>),
        budget: Budget,
        (progress, report): (Option<&TableProgress>, &mut TableReport),
    ) -> Result<(), Box<TableError>> {
        let (job, request, pool) = (&self.jobs[index], self.request, self.pool);
        let reading = self.interrupt.child();
        let source = pool.take(job.source, Purpose::Read, &reading)?;
        let target = pool.take(&request.target, Purpose::Write, self.interrupt)?;
        // What was set up for one source must not stay for another.
        let set_up = source.dialect.name() == target.dialect.name()
            && !target
                .dialect
                .setup_beside_source(&target.string, &source.string)
                .is_empty();
        let lock = lock_name(&self.targets[index]);
        let staging = staging_name(&job.target, lock);
        let (what, mark) = self.window(index, (&source, &target), &mut known)?;
        let wishes = Wishes {
            mode: job.options.meeting.mode,
            merge: job.options.meeting.merge.as_ref(),
            columns: &job.options.columns,
            add_columns: request.add_columns,
            narrower: request.narrower,
            constraints: request.constraints,
            lanes: request.lanes,
            choices: request.choices,
            unparsed,
            sifted: request.on_reject != OnReject::Fail,
            around: [&request.around, &job.options.around],
            ranges: if parted { self.ranges(budget) } else { 1 },
            verify: request.verify,
            neighbours: (&self.neighbours, index),
        };
        let plan = plan::plan((&source, &what), (&target, &job.target), known, wishes, &staging)?;
        tracing::debug!(event = "copy.plan", plan = %plan, "planned");
        if let Some(progress) = progress {
            progress.expect(plan.estimated_rows);
        }
        if plan.exists {
            self.neighbours.tell_of_keys(index, target.dialect);
        }
        let moved = |rows, bytes| progress.into_iter().for_each(|progress| progress.moved(rows, bytes));
        report.created = !plan.exists || job.options.meeting.mode == Mode::Replace;
        report.read_lane = plan.read_lane.name;
        report.read_lane_reason.clone_from(&plan.read_lane.reason);
        report.write_lane = plan.write_lane.name;
        report.write_lane_reason.clone_from(&plan.write_lane.reason);
        report.unparsed = plan.wire.is_some();
        report.not_carried.clone_from(&plan.not_carried);
        report.narrower.clone_from(&plan.narrower);
        let is_own = |leftover: &&Relation| is_staging_of(&leftover.name, lock);
        let leftovers: Vec<Relation> = self.leftovers.iter().filter(is_own).chain(&*left).cloned().collect();
        let beside = Beside {
            dialect: target.dialect,
            target: &self.targets[index],
            lock: target.dialect.table_lock(lock, self.targets[index].catalog.as_deref()),
            patience: request.patience,
            journal: self.journal.as_ref().zip(self.entries[index].as_ref()),
            look_first: again || self.is_doubted(index) || self.is_lost_perhaps[index].load(Ordering::Relaxed),
            leftovers: &leftovers,
            mark: self.journal.as_ref().zip(mark),
            made: report.created,
            has_written: false.into(),
        };
        left.extend(plan.steps.renamed().cloned());
        // Also when the run was told to stop.
        let reconnect = || pool.connect_once(&request.target, Purpose::Write, &Interrupt::new());
        let interrupts = (&reading, self.interrupt);
        report.ranges = plan.ranges.len().max(1);
        if !parted {
            let reason = "a cell is too long for a part of the memory";
            report.read_lane_reason.push_str(&ranges::in_one(reason));
        }
        let mut sources = vec![source];
        match ranges::connect(&plan, pool, job.source, &reading)? {
            Ok(others) => sources.extend(others),
            Err(reason) => report.read_lane_reason.push_str(&ranges::in_one(&reason)),
        }
        let mut rejects = Rejects::of(request, &report.table, &job.target);
        let told = (budget, &moved as &dyn Fn(u64, u64), rejects.as_mut());
        let done = pipeline::run(
            &plan,
            Origin::Database(sources),
            target,
            interrupts,
            &beside,
            told,
            &reconnect,
        );
        if let Some(rejects) = &mut rejects {
            if done.as_ref().is_ok_and(|done| done.before.is_none()) {
                rejects.publish();
            }
            report.rejected = rejects.count();
            report.rejects_file = rejects.place();
        }
        let done = done?;
        if let Some(before) = &done.before {
            report.skip(before);
            report.ranges = 0;
            self.note_skipped(index, before);
            return Ok(());
        }
        if !plan.keys.is_empty() {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            due.push((index, plan.keys));
        }
        report.rows = done.moved.rows;
        report.bytes = done.moved.bytes;
        report.verified = done.verified.by;
        report.checksum = done.verified.checksum.map(|checksum| checksum.to_string());
        report.rounded_fractions = done.moved.changed.rounded;
        report.nulls_for_infinity = done.moved.changed.infinity;
        report.nulls_for_nan = done.moved.changed.nan;
        report.nulls_for_zero_dates = done.moved.changed.zero_dates;
        report.ranges = done.ranges;
        if let Some(reason) = &done.one_range {
            report.read_lane_reason.push_str(&ranges::in_one(reason));
        }
        if done.write_sessions > 1 {
            let sessions = format!("; on {} sessions", done.write_sessions);
            report.write_lane_reason.push_str(&sessions);
        }
        for mut connection in done.sources {
            if let Some(words) = connection.afterword.take() {
                report.read_lane_reason.push_str(&format!("; {words}"));
            }
            pool.give(Purpose::Read, connection);
        }
        if let Some(connection) = done.target.filter(|_| !set_up) {
            pool.give(Purpose::Write, connection);
        }
        Ok(())
    }

    /// What is read of a table: for an incremental copy what is beyond the mark, and where that moves. What has to be
    /// asked for it is kept in `known`.
    fn window(
        &self,
        index: usize,
        (source, target): (&Connection, &Connection),
        known: &mut Known,
    ) -> Result<(Source, Option<MarkMove>), Box<TableError>> {
        let job = &self.jobs[index];
        let merge = job.options.meeting.merge.as_ref().map(|merge| &merge.kind);
        let (Some(MergeKind::Incremental { watermark, overlap }), Some(journal)) = (merge, &self.journal) else {
            return Ok((job.what.clone(), None));
        };
        let failed = |connection: &Connection, side: Side| {
            let (dialect, phase) = (connection.dialect, Phase::Plan);
            move |error| TableError::database(Place { phase, side }, error, Some(dialect))
        };
        if known.target.is_none() {
            let found = target.dialect.table(&target.session, &job.target);
            known.target = Some(found.map_err(failed(target, Side::Target))?);
        }
        let columns = match &job.what {
            Source::Query(sql) => source.dialect.query_columns(&source.session, sql),
            Source::Table { relation, .. } => {
                if known.source.is_none() {
                    let found = source.dialect.table(&source.session, relation);
                    known.source = found.map_err(failed(source, Side::Source))?;
                }
                Ok(known
                    .source
                    .as_ref()
                    .map(|table| table.columns.clone())
                    .unwrap_or_default())
            }
        };
        let columns = columns.map_err(failed(source, Side::Source))?;
        if columns.is_empty() {
            // The plan says that there is no such table.
            return Ok((job.what.clone(), None));
        }
        let column = watermark::column_of(&columns, watermark)?;
        let entry = journal.mark_entry(job, &self.targets[index], &column.name);
        let before = journal.mark(&entry).map(str::to_owned);
        // A table that is made anew holds nothing of what the mark speaks of.
        let exists = known.target.as_ref().is_some_and(Option::is_some);
        let mark = before.as_deref().filter(|_| exists);
        let window = Window::open(source, &job.what, column, (mark, *overlap))?;
        let moved = window.mark.filter(|after| before.as_ref() != Some(after));
        let moved = moved.map(|after| MarkMove { entry, before, after });
        Ok((window.what, moved))
    }

    /// In how many ranges a table is read, at most.
    fn ranges(&self, budget: Budget) -> usize {
        self.request.ranges.unwrap_or(1).min(ranges::readers_max(budget))
    }

    /// Whether the journal has a row of a table that may not count.
    fn is_doubted(&self, index: usize) -> bool {
        let entry = self.journal.as_ref().zip(self.entries[index].as_ref());
        entry.is_some_and(|(journal, entry)| journal.is_doubted(entry))
    }
}

impl TableReport {
    /// Nothing is done: it was, before.
    fn skip(&mut self, finished: &Finished) {
        self.skipped = true;
        self.created = false;
        self.rows = finished.rows;
        self.bytes = finished.bytes;
    }
}

/// The code of a table that was not begun, since one of its connections was given up.
const NOT_BEGUN: &str = "copy.not_begun";

/// What is reported of a table before anything is done.
fn report_of(job: &Job<'_>) -> TableReport {
    TableReport {
        source: job.source.label.clone(),
        table: table_name(job),
        target: job.target.to_string(),
        mode: job.options.meeting.mode_name(),
        ..TableReport::default()
    }
}

/// The table that is read, as reports call it.
pub(super) fn table_name(job: &Job<'_>) -> String {
    match &job.what {
        Source::Table { relation, .. } => relation.to_string(),
        Source::Query(_) => "query".to_owned(),
    }
}

/// A time in whole milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
