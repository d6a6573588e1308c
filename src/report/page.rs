//! The page, from top to bottom.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::chart::{Bar, duration, escaped, gantt, line};
use super::log::{Log, Point, Remark, State, Table, Worker};

const STYLE: &str = include_str!("page.css");

/// So many of the slowest tables are listed.
const SLOWEST: usize = 20;

/// So many pieces of time a line over time has.
const PIECES: usize = 220;

/// Two tables on one worker may overlap by so many milliseconds: their ends are told by the log, which is written later.
const OVERLAP_MS: i64 = 50;

/// The page about a log that is finished.
pub(super) fn render(log: &Log) -> String {
    let span = log.copying_ms();
    let mut page = format!(
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<title>dray: report of a run</title>\n\
         <meta name=viewport content=\"width=device-width\">\n\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=icon href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    head(&mut page, log, span);
    if log.tables.is_empty() {
        page.push_str("<p>No table was copied.</p>\n");
    } else {
        section(
            &mut page,
            "What ran when",
            "Each bar is a table, on the line of the worker that copied it.",
        );
        page.push_str(&workers(log, span));
        let rates = rates(&log.tables, span);
        for (title, which, unit) in [("Rows per second", 0, ""), ("Bytes per second", 1, "B")] {
            section(&mut page, title, "");
            let points: Vec<(i64, f64)> = rates.iter().map(|(time, rate)| (*time, rate[which])).collect();
            page.push_str(&line(title, &points, span, |value| {
                format!("{}{unit}/s", scaled(value))
            }));
        }
    }
    memory(&mut page, log, span);
    failed(&mut page, log);
    rejected(&mut page, log);
    slowest(&mut page, log);
    remarks(&mut page, "Retries", &log.retries, span.0);
    remarks(&mut page, "Warnings and errors", &log.remarks, span.0);
    if log.remarks_left_out > 0 {
        let _ = writeln!(page, "<p>{} more are in the log.</p>", log.remarks_left_out);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn section(page: &mut String, title: &str, remark: &str) {
    let _ = writeln!(page, "<h2>{title}</h2>");
    if !remark.is_empty() {
        let _ = writeln!(page, "<p>{remark}</p>");
    }
}

fn head(page: &mut String, log: &Log, (began, ended): (i64, i64)) {
    let time = |ms: i64| {
        let since_1970 = Duration::from_millis(u64::try_from(ms).unwrap_or_default());
        humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_1970)
    };
    let (rows, bytes) = log
        .tables
        .iter()
        .filter(|table| table.state == State::Copied)
        .fold((0, 0), |(rows, bytes), table| (rows + table.rows, bytes + table.bytes));
    let seconds = (ended - began) as f64 / 1000.0;
    let _ = writeln!(
        page,
        "<h1>Report of a run</h1>\n<p>{} to {}{}</p>\n<dl>",
        time(began),
        time(ended),
        match log.exit_codes.as_slice() {
            [] => String::new(),
            [code] => format!(", exit code {code}"),
            codes => format!(
                ", exit codes {}",
                codes.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
            ),
        }
    );
    let mut tile = |name: &str, value: String, is_bad: bool| {
        let class = if is_bad { " class=bad" } else { "" };
        let _ = writeln!(page, "<div><dt>{name}</dt><dd{class}>{}</dd></div>", escaped(&value));
    };
    tile("tables copied", grouped(log.count(State::Copied) as u64), false);
    for (name, state) in [
        ("failed", State::Failed),
        ("skipped", State::Skipped),
        ("unfinished", State::Unfinished),
    ] {
        let count = log.count(state);
        if count > 0 || state == State::Failed {
            tile(name, grouped(count as u64), count > 0 && state != State::Skipped);
        }
    }
    tile("rows", grouped(rows), false);
    let rejected: u64 = log.tables.iter().map(|table| table.rejected).sum();
    if rejected > 0 {
        tile("rejected rows", grouped(rejected), true);
    }
    tile("values", format!("{}B", scaled(bytes as f64)), false);
    tile("time", duration(ended - began), false);
    tile("rows per second", scaled(rows as f64 / seconds), false);
    let highest = log.memory.iter().map(|memory| memory.bytes).max().unwrap_or_default();
    let peak = log.peak_memory_bytes.max(highest);
    if peak > 0 {
        tile("peak memory", format!("{}B", scaled(peak as f64)), false);
    }
    tile("retries", grouped(log.retries.len() as u64), !log.retries.is_empty());
    page.push_str("</dl>\n");
}

/// The bars, by worker; a worker that seems to do two things at once has two lines.
fn workers(log: &Log, span: (i64, i64)) -> String {
    let mut tasks: Vec<&str> = log.tables.iter().map(|table| table.worker.task.as_str()).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let mut order: Vec<&Table> = log.tables.iter().collect();
    order.sort_by_key(|table| (&table.worker, table.began_ms));
    let mut lines: Vec<(&Worker, i64)> = Vec::new();
    let mut bars = Vec::new();
    for table in order {
        let free = |(worker, until): &(&Worker, i64)| *worker == &table.worker && *until <= table.began_ms + OVERLAP_MS;
        let number = match lines.iter().position(free) {
            Some(number) => number,
            None => {
                lines.push((&table.worker, 0));
                lines.len() - 1
            }
        };
        lines[number].1 = table.ended_ms;
        let (class, state) = match table.state {
            State::Copied => ("copied", "copied"),
            State::Failed => ("failed", "failed"),
            State::Skipped => ("skipped", "skipped: an earlier run has copied it"),
            State::Unfinished => ("unfinished", "the log ends before it"),
        };
        let took = (table.ended_ms - table.began_ms).max(0);
        bars.push(Bar {
            line: number,
            began_ms: table.began_ms,
            ended_ms: table.ended_ms,
            class,
            name: &table.table,
            title: format!(
                "{} of {} to {}\n{state}, {} rows, {}B in {}",
                table.table,
                table.source,
                table.target,
                grouped(table.rows),
                scaled(table.bytes as f64),
                duration(took)
            ),
        });
    }
    let name = |(worker, _): &(&Worker, i64)| match tasks.len() {
        1 => format!("worker {}", worker.number),
        _ => format!("{} {}", worker.number, worker.task),
    };
    let names: Vec<String> = lines.iter().map(name).collect();
    gantt(&names, &bars, span)
}

/// Rows and bytes a second in equal pieces of the time: what a table has moved between two points is spread evenly.
fn rates(tables: &[Table], (began, ended): (i64, i64)) -> Vec<(i64, [f64; 2])> {
    let length = (ended - began) as f64 / PIECES as f64;
    let mut sums = vec![[0.0; 2]; PIECES];
    for pair in tables.iter().flat_map(|table| table.points.windows(2)) {
        let [from, to] = pair else { continue };
        let moved = |read: fn(&Point) -> u64| read(to).saturating_sub(read(from)) as f64;
        let moved = [moved(|point| point.rows), moved(|point| point.bytes)];
        let first = (from.time_ms - began) as f64 / length;
        // What took no time at all is spread over one piece.
        let last = ((to.time_ms - began) as f64 / length).max(first + 1e-3);
        let mut at = first;
        while at < last {
            let next = (at.floor() + 1.0).min(last);
            let piece = (at.max(0.0) as usize).min(PIECES - 1);
            for (sum, moved) in sums[piece].iter_mut().zip(moved) {
                *sum += moved * (next - at) / (last - first);
            }
            at = next;
        }
    }
    let seconds = length / 1000.0;
    let point = |(number, sum): (usize, [f64; 2])| {
        let middle = began + ((number as f64 + 0.5) * length) as i64;
        (middle, sum.map(|sum| sum / seconds))
    };
    sums.into_iter().enumerate().map(point).collect()
}

fn memory(page: &mut String, log: &Log, span: (i64, i64)) {
    // Of several tasks, each on a node of its own, the first.
    let Some(first) = log.memory.first() else { return };
    let of_task = log.memory.iter().filter(|memory| memory.task == first.task);
    let points: Vec<(i64, f64)> = of_task.map(|memory| (memory.time_ms, memory.bytes as f64)).collect();
    if points.len() < 2 {
        return;
    }
    section(page, "Memory", "What the copying process has of the node's memory.");
    page.push_str(&line("Memory", &points, span, |value| format!("{}B", scaled(value))));
}

fn failed(page: &mut String, log: &Log) {
    let failed: Vec<&Table> = log.tables.iter().filter(|table| table.state == State::Failed).collect();
    if failed.is_empty() {
        return;
    }
    section(page, "Failed tables", "");
    page.push_str("<div class=wide><table><tr><th>table<th>source<th>target<th>why\n");
    for table in failed {
        let cells = [&table.table, &table.source, &table.target].map(|text| escaped(text));
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td class=bad>{}",
            cells[0],
            cells[1],
            cells[2],
            escaped(&table.error)
        );
    }
    page.push_str("</table></div>\n");
}

fn rejected(page: &mut String, log: &Log) {
    let rejected: Vec<&Table> = log.tables.iter().filter(|table| table.rejected > 0).collect();
    if rejected.is_empty() {
        return;
    }
    section(
        page,
        "Rejected rows",
        "Rows that the target has refused; each table's are in a file that the log names.",
    );
    page.push_str(
        "<div class=wide><table><tr><th>table<th>source<th>target<th class=number>rejected<th class=number>copied\n",
    );
    for table in rejected {
        let cells = [&table.table, &table.source, &table.target].map(|text| escaped(text));
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td class=number>{}<td class=number>{}",
            cells[0],
            cells[1],
            cells[2],
            grouped(table.rejected),
            grouped(table.rows)
        );
    }
    page.push_str("</table></div>\n");
}

fn slowest(page: &mut String, log: &Log) {
    let mut tables: Vec<&Table> = log.tables.iter().filter(|table| table.state == State::Copied).collect();
    if tables.is_empty() {
        return;
    }
    tables.sort_by_key(|table| table.began_ms - table.ended_ms);
    section(page, "Slowest tables", "");
    page.push_str(
        "<div class=wide><table><tr><th>table<th>source<th>target<th class=number>time<th class=number>rows\
         <th class=number>values<th class=number>rows/s<th>lanes\n",
    );
    for table in tables.iter().take(SLOWEST) {
        let took = (table.ended_ms - table.began_ms).max(1);
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td class=number>{}<td class=number>{}<td class=number>{}B<td class=number>{}<td>{}",
            escaped(&table.table),
            escaped(&table.source),
            escaped(&table.target),
            duration(took),
            grouped(table.rows),
            scaled(table.bytes as f64),
            scaled(table.rows as f64 * 1000.0 / took as f64),
            escaped(&table.lanes)
        );
    }
    page.push_str("</table></div>\n");
}

fn remarks(page: &mut String, title: &str, remarks: &[Remark], began: i64) {
    if remarks.is_empty() {
        return;
    }
    section(page, title, "");
    page.push_str("<div class=wide><table><tr><th class=number>after<th>level<th>event<th>table<th>message\n");
    for remark in remarks {
        let after = remark.time_ms - began;
        let _ = writeln!(
            page,
            "<tr><td class=number>{}{}<td>{}<td>{}<td>{}<td>{}",
            if after < 0 { "-" } else { "" },
            duration(after.abs()),
            escaped(&remark.level),
            escaped(&remark.event),
            escaped(&remark.table),
            escaped(&remark.message)
        );
    }
    page.push_str("</table></div>\n");
}

/// A number with a mark before each group of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number in three digits and a unit of a thousand, a million and so on, with a blank before what follows.
fn scaled(number: f64) -> String {
    let mut scaled = number;
    let mut units = ["", "k", "M", "G", "T"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while scaled >= 999.5
        && let Some(next) = units.next()
    {
        scaled /= 1000.0;
        unit = next;
    }
    let digits = match scaled {
        ..9.995 if unit.is_empty() && scaled.fract() == 0.0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_in_a_few_digits() {
        for (number, expected) in [
            (0.0, "0 "),
            (7.0, "7 "),
            (1234.0, "1.23 k"),
            (999_600.0, "1.00 M"),
            (45.6e9, "45.6 G"),
        ] {
            assert_eq!(scaled(number), expected);
        }
        assert_eq!(
            [grouped(7), grouped(1234), grouped(1_234_567)],
            ["7", "1,234", "1,234,567"]
        );
    }

    #[test]
    fn the_rates_add_up_to_what_was_moved() {
        let table = Table {
            source: String::new(),
            table: String::new(),
            target: String::new(),
            worker: Worker::default(),
            state: State::Copied,
            rows: 1000,
            bytes: 5000,
            rejected: 0,
            began_ms: 100,
            ended_ms: 7_777,
            lanes: String::new(),
            error: String::new(),
            points: [(100, 0, 0), (5_000, 900, 4_000), (7_777, 1_000, 5_000)]
                .map(|(time_ms, rows, bytes)| Point { time_ms, rows, bytes })
                .to_vec(),
        };
        let span = (0, 10_000);
        let rates = rates(&[table], span);
        let seconds = 10.0 / PIECES as f64;
        let sum = |which: usize| rates.iter().map(|(_, rate)| rate[which] * seconds).sum::<f64>();
        assert!((sum(0) - 1000.0).abs() < 1e-6 && (sum(1) - 5000.0).abs() < 1e-6);
        let early = rates[PIECES / 4].1[0];
        let late = rates[PIECES * 7 / 10].1[0];
        assert!((early - 900.0 / 4.9).abs() < 1.0 && (late - 100.0 / 2.777).abs() < 1.0);
    }
}
