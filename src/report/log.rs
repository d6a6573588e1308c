//! What a log says, gathered by table.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::ReportError;

/// Most warnings and errors that are kept of a log.
const REMARKS_MAX: usize = 200;

/// What tells of a failure after which the same was tried again. Other second times are none: `copy.again_alone` is a table
/// that gets the memory of all.
const RETRIES: [&str; 2] = ["copy.table_again", "copy.connect_again"];

/// The log of a run, or of several.
#[derive(Debug, Default)]
pub struct Log {
    /// The tables, in the order of their beginning.
    pub tables: Vec<Table>,
    /// Memory of the copying processes over time.
    pub memory: Vec<Memory>,
    /// The highest memory that a run's end tells of, in bytes.
    pub peak_memory_bytes: u64,
    /// Failures after which something was tried again.
    pub retries: Vec<Remark>,
    /// Everything else of level `warning` and above, the first ones.
    pub remarks: Vec<Remark>,
    /// Warnings and errors beyond those.
    pub remarks_left_out: usize,
    /// Exit codes of the runs that have ended.
    pub exit_codes: Vec<i64>,
    /// The first record and the last one, in milliseconds since 1970.
    pub span_ms: Option<(i64, i64)>,
    /// Of the file that is read: points of tables that have not ended, by task, source and target.
    open: HashMap<(String, String, String), Vec<Point>>,
}

/// One table's copy.
#[derive(Clone, Debug)]
pub struct Table {
    pub source: String,
    pub table: String,
    pub target: String,
    /// Task and worker.
    pub worker: Worker,
    pub state: State,
    pub rows: u64,
    pub bytes: u64,
    /// Rows that the target has refused and that were left out.
    pub rejected: u64,
    /// When it began and ended, in milliseconds since 1970.
    pub began_ms: i64,
    pub ended_ms: i64,
    /// How it was read and written; empty if unknown.
    pub lanes: String,
    /// Why it failed.
    pub error: String,
    /// How far it was at which time, the beginning and the end too.
    pub points: Vec<Point>,
}

/// Who copied it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    /// The Batch task's id, or the file's name.
    pub task: String,
    pub number: u64,
}

/// What became of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Copied,
    Failed,
    /// A run before had copied it.
    Skipped,
    /// The log ends while it was copied.
    Unfinished,
}

/// How far a table was.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub time_ms: i64,
    pub rows: u64,
    pub bytes: u64,
}

/// How much memory a process had.
#[derive(Clone, Debug)]
pub struct Memory {
    pub time_ms: i64,
    pub bytes: u64,
    pub task: String,
}

/// A record that is shown as it is.
#[derive(Clone, Debug)]
pub struct Remark {
    pub time_ms: i64,
    pub level: String,
    pub event: String,
    /// The table, if it is about one.
    pub table: String,
    pub message: String,
}

impl Log {
    /// Adds a file. Lines that are no records, such as what a script prints, are passed over.
    ///
    /// # Errors
    /// It cannot be read, or has no record at all.
    pub fn read(&mut self, path: &Path) -> Result<(), ReportError> {
        let file = fs_err::File::open(path).map_err(ReportError::Read)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut reader = BufReader::new(file);
        let (mut line, mut lines, mut records) = (Vec::new(), 0, 0);
        while reader.read_until(b'\n', &mut line).map_err(ReportError::Read)? > 0 {
            lines += 1;
            records += usize::from(self.take(&line, &name).is_some());
            line.clear();
        }
        match records {
            0 => Err(ReportError::NoRecords {
                path: path.to_owned(),
                lines,
            }),
            _ => Ok(()),
        }
    }

    /// Takes a line in, if it is a record.
    fn take(&mut self, line: &[u8], file: &str) -> Option<()> {
        if line.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let record: Map<String, Value> = serde_json::from_slice(line).ok()?;
        let time = humantime::parse_rfc3339(record.get("time")?.as_str()?).ok()?;
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let time_ms = i64::try_from(since_1970.as_millis()).ok()?;
        let event = record.get("event")?.as_str()?;
        let empty = Map::new();
        let fields = record.get("fields").and_then(Value::as_object).unwrap_or(&empty);
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        let task = record.get("task_id").and_then(Value::as_str).unwrap_or(file).to_owned();
        let message = record.get("message").and_then(Value::as_str).unwrap_or_default();
        let (first, last) = self.span_ms.unwrap_or((time_ms, time_ms));
        self.span_ms = Some((first.min(time_ms), last.max(time_ms)));
        let key = (task.clone(), text("source"), text("target"));
        match event {
            "copy.table" | "copy.table_failed" | "copy.table_skipped" => {
                let state = match event {
                    "copy.table" => State::Copied,
                    "copy.table_failed" => State::Failed,
                    _ => State::Skipped,
                };
                let began_ms = time_ms - number("duration_ms").unwrap_or_default() as i64;
                let (rows, bytes) = match state {
                    State::Copied => (number("rows").unwrap_or_default(), number("bytes").unwrap_or_default()),
                    _ => (0, 0),
                };
                let mut points = vec![Point {
                    time_ms: began_ms,
                    rows: 0,
                    bytes: 0,
                }];
                let on_the_way = self.open.remove(&key).unwrap_or_default();
                points.extend(on_the_way.into_iter().filter(|point| point.time_ms >= began_ms));
                if state == State::Copied {
                    points.push(Point { time_ms, rows, bytes });
                }
                let lanes = [text("read_lane"), text("write_lane")].join(" → ");
                self.tables.push(Table {
                    source: text("source"),
                    table: text("table"),
                    target: text("target"),
                    worker: Worker {
                        task,
                        number: number("worker").unwrap_or_default(),
                    },
                    state,
                    rows,
                    bytes,
                    rejected: number("rejected").unwrap_or_default(),
                    began_ms,
                    ended_ms: time_ms,
                    lanes: if state == State::Copied { lanes } else { String::new() },
                    error: if state == State::Failed {
                        message.to_owned()
                    } else {
                        String::new()
                    },
                    points,
                });
            }
            "copy.table_progress" => self.open.entry(key).or_default().push(Point {
                time_ms,
                rows: number("rows").unwrap_or_default(),
                bytes: number("bytes").unwrap_or_default(),
            }),
            "copy.progress" => {
                if let Some(bytes) = number("memory_bytes") {
                    self.memory.push(Memory { time_ms, bytes, task });
                }
            }
            "run.ended" => {
                self.peak_memory_bytes = self
                    .peak_memory_bytes
                    .max(number("peak_memory_bytes").unwrap_or_default());
                self.exit_codes.extend(fields.get("exit_code").and_then(Value::as_i64));
            }
            _ => {}
        }
        let remark = || Remark {
            time_ms,
            level: record
                .get("level")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            event: event.to_owned(),
            table: text("table"),
            message: message.to_owned(),
        };
        if RETRIES.contains(&event) {
            self.retries.push(remark());
        } else if event != "copy.table_failed" && ["warning", "error", "critical"].contains(&remark().level.as_str()) {
            match self.remarks.len() < REMARKS_MAX {
                true => self.remarks.push(remark()),
                false => self.remarks_left_out += 1,
            }
        }
        Some(())
    }

    /// After the last file: what has not ended was cut off.
    pub fn finish(&mut self) {
        for ((task, source, target), points) in std::mem::take(&mut self.open) {
            let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else {
                continue;
            };
            self.tables.push(Table {
                source,
                table: target.clone(),
                target,
                worker: Worker { task, number: 0 },
                state: State::Unfinished,
                rows: last.rows,
                bytes: last.bytes,
                rejected: 0,
                began_ms: first.time_ms,
                ended_ms: last.time_ms,
                lanes: String::new(),
                error: String::new(),
                points,
            });
        }
        self.tables.sort_by_key(|table| table.began_ms);
    }

    /// From the first table's beginning to the last one's end; without tables, all of the log. In milliseconds since 1970.
    pub fn copying_ms(&self) -> (i64, i64) {
        let began = self.tables.iter().map(|table| table.began_ms).min();
        let ended = self.tables.iter().map(|table| table.ended_ms).max();
        let (began, ended) = began.zip(ended).or(self.span_ms).unwrap_or_default();
        (began, ended.max(began + 1))
    }

    /// How many tables have this state.
    pub fn count(&self, state: State) -> usize {
        self.tables.iter().filter(|table| table.state == state).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &str) -> Log {
        let mut log = Log::default();
        for line in lines.lines() {
            log.take(line.as_bytes(), "stderr.txt");
        }
        log.finish();
        log
    }

    #[test]
    fn tables_are_gathered_with_their_points_and_the_rest_of_stderr_is_passed_over() {
        let log = log(concat!(
            "warning: printed by a script\n",
            "{\"not\": \"a record\"}\n",
            r#"{"time":"2026-11-21T06:00:05Z","level":"info","event":"copy.table_progress","message":"m","fields":{"source":"S","table":"a","target":"a","rows":40,"bytes":400}}"#,
            "\n",
            r#"{"time":"2026-11-21T06:00:05Z","level":"info","event":"copy.progress","message":"m","fields":{"memory_bytes":1000}}"#,
            "\n",
            r#"{"time":"2026-11-21T06:00:10Z","level":"info","event":"copy.table","message":"m","task_id":"t","fields":{"source":"S","table":"b","target":"b","rows":1,"bytes":1,"duration_ms":500,"worker":1}}"#,
            "\n",
            r#"{"time":"2026-11-21T06:00:10Z","level":"info","event":"copy.table","message":"m","fields":{"source":"S","table":"a","target":"a","rows":100,"bytes":1000,"duration_ms":10000,"worker":0,"read_lane":"copy","write_lane":"odbc"}}"#,
            "\n",
        ));
        assert_eq!(log.tables.len(), 2);
        let (first, second) = (&log.tables[0], &log.tables[1]);
        assert_eq!((first.table.as_str(), first.rows, first.points.len()), ("a", 100, 3));
        assert_eq!(first.lanes, "copy → odbc");
        assert_eq!((second.worker.task.as_str(), second.worker.number), ("t", 1));
        assert_eq!(log.copying_ms().1 - log.copying_ms().0, 10_000);
        assert_eq!(log.memory.len(), 1);
    }

    #[test]
    fn a_table_that_the_log_leaves_open_is_unfinished() {
        let log = log(
            r#"{"time":"2026-11-21T06:00:05Z","level":"info","event":"copy.table_progress","message":"m","fields":{"source":"S","table":"a","target":"a","rows":40,"bytes":400}}"#,
        );
        assert_eq!(log.tables[0].state, State::Unfinished);
        assert_eq!(log.tables[0].rows, 40);
    }

    #[test]
    fn retries_and_other_remarks_are_told_apart() {
        let log = log(concat!(
            r#"{"time":"2026-11-21T06:00:05Z","level":"warning","event":"copy.table_again","message":"again","fields":{"table":"a"}}"#,
            "\n",
            r#"{"time":"2026-11-21T06:00:06Z","level":"error","event":"script.raised","message":"x"}"#,
            "\n",
            r#"{"time":"2026-11-21T06:00:07Z","level":"error","event":"copy.table_failed","message":"no","fields":{"source":"S","table":"a","target":"a","duration_ms":1}}"#,
        ));
        assert_eq!((log.retries.len(), log.remarks.len()), (1, 1));
        assert_eq!(log.retries[0].table, "a");
        assert_eq!(log.tables[0].error, "no");
    }

    #[test]
    fn a_table_that_is_copied_alone_for_its_memory_is_no_retry() {
        let log = log(concat!(
            r#"{"time":"2026-11-21T06:00:05Z","level":"info","event":"copy.again_alone","message":"again, with the whole memory limit","fields":{"table":"a"}}"#,
            "\n",
            r#"{"time":"2026-11-21T06:00:06Z","level":"warning","event":"copy.connect_again","message":"connecting again"}"#,
        ));
        let events: Vec<&str> = log.retries.iter().map(|remark| remark.event.as_str()).collect();
        assert_eq!(events, ["copy.connect_again"]);
        assert!(log.remarks.is_empty());
    }
}
