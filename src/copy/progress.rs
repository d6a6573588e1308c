//! How far a call is: counters that its tables keep, for whoever looks at them from another thread, and the log.
//!
//! Knows numbers and names, and nothing of how rows are moved. A table counts once a batch, so that counting costs nothing
//! that could be measured.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::report::TableReport;

/// When a call first says how far it is.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// How often it does so after that.
const PACE: Duration = Duration::from_secs(5);

/// A table that has run so long is told of by itself.
const LONG: Duration = Duration::from_secs(1);

/// Stands for a number of rows that nobody knows.
const UNKNOWN: u64 = u64::MAX;

/// How far one call is. It is made before the call, which fills it.
#[derive(Default)]
pub struct Progress {
    call: OnceLock<Call>,
    shown: AtomicBool,
}

struct Call {
    started: Instant,
    tables: Vec<TableProgress>,
}

/// How far one table is.
pub(super) struct TableProgress {
    source: String,
    table: String,
    target: String,
    /// When the call began, in which the table's times are told.
    call_started: Instant,
    state: AtomicU8,
    began_ms: AtomicU64,
    estimated_rows: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// Where a table is on its way.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting = 0,
    Running = 1,
    Copied = 2,
    Failed = 3,
}

/// How far a call is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// Tables of the call; 0 before they are known.
    pub tables: usize,
    /// Tables that are copied.
    pub tables_copied: usize,
    /// Tables that failed.
    pub tables_failed: usize,
    /// Rows that were written, those of running tables too.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Milliseconds since the call knew its tables.
    pub elapsed_ms: u64,
    /// Rows a second, over all that time.
    pub rows_per_s: u64,
    /// Bytes a second, over all that time.
    pub bytes_per_s: u64,
    /// How much is done, from 0 to 100: by rows where the databases say how many there are, else by tables.
    pub percent: f64,
    /// Seconds that are left if it goes on as it did; `None` as long as nothing is done.
    pub left_s: Option<u64>,
    /// The tables that are being copied, in the order of the request.
    pub running: Vec<RunningTable>,
}

/// How far a table is at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunningTable {
    /// The source's name as it was given; its connection string is masked.
    pub source: String,
    /// The source table, or `query`.
    pub table: String,
    /// The table in the target.
    pub target: String,
    /// Rows that were written.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Milliseconds since it was begun.
    pub elapsed_ms: u64,
    /// Rows a second, over all that time.
    pub rows_per_s: u64,
    /// How many rows the source believes to have; `None` where it does not know, for queries, and with a condition.
    pub estimated_rows: Option<u64>,
    /// How much is done, from 0 to 100, by the estimate; `None` without one.
    pub percent: Option<f64>,
    /// Seconds that are left if it goes on as it did; `None` without an estimate or rows.
    pub left_s: Option<u64>,
}

impl Progress {
    /// How far the call is now.
    pub fn snapshot(&self) -> Snapshot {
        let Some(call) = self.call.get() else {
            return Snapshot::default();
        };
        let mut snapshot = Snapshot {
            tables: call.tables.len(),
            elapsed_ms: milliseconds(call.started.elapsed()),
            ..Snapshot::default()
        };
        // In rows, as far as each table has an estimate; and in tables.
        let (mut expected_rows, mut tables_done) = (Some(0_u64), 0.0);
        for table in &call.tables {
            let rows = table.rows.load(Ordering::Relaxed);
            let state = table.state.load(Ordering::Relaxed);
            snapshot.rows += rows;
            snapshot.bytes += table.bytes.load(Ordering::Relaxed);
            let ended = state == State::Copied as u8 || state == State::Failed as u8;
            let expected = match (ended, table.estimate()) {
                (true, _) => Some(rows),
                (false, estimate) => estimate.map(|estimate| estimate.max(rows)),
            };
            expected_rows = expected_rows.zip(expected).map(|(all, one)| all.saturating_add(one));
            if ended {
                tables_done += 1.0;
            }
            if state == State::Copied as u8 {
                snapshot.tables_copied += 1;
            } else if state == State::Failed as u8 {
                snapshot.tables_failed += 1;
            } else if state == State::Running as u8 {
                let running = table.running(snapshot.elapsed_ms);
                tables_done += running.percent.unwrap_or_default() / 100.0;
                snapshot.running.push(running);
            }
        }
        snapshot.rows_per_s = per_second(snapshot.rows, snapshot.elapsed_ms);
        snapshot.bytes_per_s = per_second(snapshot.bytes, snapshot.elapsed_ms);
        let is_done = snapshot.tables_copied + snapshot.tables_failed == snapshot.tables;
        let share = match expected_rows {
            _ if is_done => 1.0,
            Some(expected) if expected > 0 => share_of(snapshot.rows, expected),
            _ => tables_done / snapshot.tables.max(1) as f64,
        };
        snapshot.percent = rounded(share);
        snapshot.left_s = left_s(share, snapshot.elapsed_ms);
        snapshot
    }

    /// From now on somebody else shows how far the call is, and the log does not.
    pub fn show(&self) {
        self.shown.store(true, Ordering::Relaxed);
    }

    /// Runs `work`, and meanwhile logs how far it is, every few seconds.
    pub(super) fn logged<T>(&self, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let (ended, wait) = channel::<()>();
            let watch = move || {
                let mut pace = FIRST_WORD;
                while wait.recv_timeout(pace) == Err(RecvTimeoutError::Timeout) {
                    pace = PACE;
                    self.log();
                }
            };
            // Without a thread there is no log of it, and a copy all the same.
            let _ = thread::Builder::new()
                .name("dray-progress".to_owned())
                .spawn_scoped(scope, watch);
            let done = work();
            drop(ended);
            done
        })
    }

    fn log(&self) {
        if self.shown.load(Ordering::Relaxed) {
            return;
        }
        let now = self.snapshot();
        tracing::info!(
            event = "copy.progress",
            tables = now.tables,
            tables_copied = now.tables_copied,
            tables_failed = now.tables_failed,
            rows = now.rows,
            bytes = now.bytes,
            rows_per_s = now.rows_per_s,
            bytes_per_s = now.bytes_per_s,
            percent = now.percent,
            left_s = now.left_s,
            memory_bytes = resident_bytes(),
            "copying"
        );
        let long = |table: &&RunningTable| table.elapsed_ms >= milliseconds(LONG);
        for table in now.running.iter().filter(long) {
            tracing::info!(
                event = "copy.table_progress",
                source = table.source,
                table = table.table,
                target = table.target,
                rows = table.rows,
                bytes = table.bytes,
                rows_per_s = table.rows_per_s,
                estimated_rows = table.estimated_rows,
                percent = table.percent,
                left_s = table.left_s,
                "copying a table"
            );
        }
    }

    /// The call knows its tables: for each the source's name, the table, and the target.
    pub(super) fn begin(&self, tables: impl Iterator<Item = (String, String, String)>) {
        let started = Instant::now();
        let tables = tables.map(|(source, table, target)| TableProgress {
            source,
            table,
            target,
            call_started: started,
            state: AtomicU8::new(State::Waiting as u8),
            began_ms: AtomicU64::new(0),
            estimated_rows: AtomicU64::new(UNKNOWN),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let tables = tables.collect();
        // Each call has one of its own.
        let _ = self.call.set(Call { started, tables });
    }

    /// A table of the call, by its place in the request.
    pub(super) fn table(&self, index: usize) -> Option<&TableProgress> {
        self.call.get()?.tables.get(index)
    }
}

impl TableProgress {
    /// The table is being copied, from its first row, perhaps for the second time. Gives the milliseconds since the call
    /// began.
    pub fn begin(&self) -> u64 {
        let began_ms = milliseconds(self.call_started.elapsed());
        self.began_ms.store(began_ms, Ordering::Relaxed);
        self.moved(0, 0);
        self.state.store(State::Running as u8, Ordering::Relaxed);
        began_ms
    }

    /// How many rows the source believes to have.
    pub fn expect(&self, rows: Option<u64>) {
        self.estimated_rows.store(rows.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// How many rows were written by now, and how many bytes of values.
    pub fn moved(&self, rows: u64, bytes: u64) {
        self.rows.store(rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// The table's copy has ended.
    pub fn end(&self, report: &TableReport) {
        self.moved(report.rows, report.bytes);
        let state = if report.error.is_none() {
            State::Copied
        } else {
            State::Failed
        };
        self.state.store(state as u8, Ordering::Relaxed);
    }

    fn estimate(&self) -> Option<u64> {
        Some(self.estimated_rows.load(Ordering::Relaxed)).filter(|rows| *rows != UNKNOWN)
    }

    fn running(&self, elapsed_of_call_ms: u64) -> RunningTable {
        let rows = self.rows.load(Ordering::Relaxed);
        let elapsed_ms = elapsed_of_call_ms.saturating_sub(self.began_ms.load(Ordering::Relaxed));
        let estimated_rows = self.estimate();
        let share = estimated_rows.map(|estimate| share_of(rows, estimate.max(rows)));
        RunningTable {
            source: self.source.clone(),
            table: self.table.clone(),
            target: self.target.clone(),
            rows,
            bytes: self.bytes.load(Ordering::Relaxed),
            elapsed_ms,
            rows_per_s: per_second(rows, elapsed_ms),
            estimated_rows,
            percent: share.map(rounded),
            left_s: share.and_then(|share| left_s(share, elapsed_ms)),
        }
    }
}

/// What is not done yet is not all: an estimate may be too low.
fn share_of(rows: u64, expected: u64) -> f64 {
    (rows as f64 / expected.max(1) as f64).min(0.999)
}

/// In hundredths, with one digit.
fn rounded(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

fn left_s(share: f64, elapsed_ms: u64) -> Option<u64> {
    (share > 0.0).then(|| (elapsed_ms as f64 * (1.0 - share) / share / 1000.0).ceil() as u64)
}

fn per_second(count: u64, elapsed_ms: u64) -> u64 {
    (count as f64 * 1000.0 / elapsed_ms.max(1) as f64) as u64
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What of the process lies in memory, proc(5).
fn resident_bytes() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_tables() -> Progress {
        let progress = Progress::default();
        let names = ["a", "b"].map(|name| ("Source".to_owned(), name.to_owned(), name.to_owned()));
        progress.begin(names.into_iter());
        progress
    }

    #[test]
    fn the_share_is_by_rows_where_all_tables_have_an_estimate() {
        let progress = two_tables();
        let [first, second] = [0, 1].map(|index| progress.table(index).unwrap());
        first.expect(Some(100));
        second.expect(Some(300));
        first.begin();
        first.moved(50, 500);
        let now = progress.snapshot();
        assert_eq!((now.tables, now.rows, now.bytes), (2, 50, 500));
        assert_eq!(now.percent, 12.5);
        assert_eq!(now.running[0].percent, Some(50.0));
        first.end(&TableReport {
            rows: 100,
            ..TableReport::default()
        });
        assert_eq!(progress.snapshot().percent, 25.0);
        assert_eq!(progress.snapshot().tables_copied, 1);
    }

    #[test]
    fn the_share_is_by_tables_where_one_has_no_estimate() {
        let progress = two_tables();
        let first = progress.table(0).unwrap();
        first.begin();
        first.moved(10, 10);
        assert_eq!(progress.snapshot().percent, 0.0);
        assert_eq!(progress.snapshot().left_s, None);
        first.end(&TableReport::default());
        assert_eq!(progress.snapshot().percent, 50.0);
    }

    #[test]
    fn more_rows_than_were_expected_are_not_all_of_them() {
        let progress = two_tables();
        let first = progress.table(0).unwrap();
        first.expect(Some(10));
        first.begin();
        first.moved(500, 0);
        assert_eq!(progress.snapshot().running[0].percent, Some(99.9));
    }

    #[test]
    fn nothing_is_known_before_the_tables_are() {
        assert_eq!(Progress::default().snapshot(), Snapshot::default());
    }
}
