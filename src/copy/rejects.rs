//! Rows that the target has refused, one a line of their table's file.
//!
//! Owns the file: its name, its lines, and that it takes its place once the table's other rows are in the target for good.
//! Which rows these are is found out in `sifting`.

use std::{
    fmt::Write as _,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    error::{Phase, Place, Side, TableError},
    job::{Job, refused},
    pipeline::key_columns,
    plan::TablePlan,
    request::{MergeKind, OnReject, Request},
};
use crate::database::{LogicalType, Relation, Value};

/// What stands behind the table's name.
const SUFFIX: &str = ".rejects.jsonl";

/// What stands behind the file's name until the table is committed, and for good if it is not.
const UNFINISHED: &str = ".part";

/// Most bytes of the table's name within the file's; file systems take 255 for all of it.
const NAME_BYTES_MAX: usize = 200;

/// Whole numbers beyond this are text: readers of JSON that have doubles alone would change them.
const NUMBER_MAX: u64 = 1 << 53;

const WRITE: Place = Place {
    phase: Phase::Write,
    side: Side::Target,
};

/// Refuses what cannot leave rows out.
///
/// # Errors
/// Rows that have not come would be taken for rows that are gone.
pub(super) fn check(request: &Request, jobs: &[Job<'_>]) -> Result<(), Box<TableError>> {
    let mirrors = |job: &Job<'_>| matches!(&job.options.meeting.merge, Some(merge) if merge.kind == MergeKind::Mirror);
    if !jobs.iter().any(mirrors) || request.on_reject == OnReject::Fail {
        return Ok(());
    }
    let message =
        "mode `mirror` cannot leave rejected rows out: it would remove what the target has of them".to_owned();
    let mut error = refused(Side::Target, "copy.rejects_of_mirror", message);
    error.hint = Some("use mode `upsert`, or `on_reject=\"fail\"`".to_owned());
    Err(error)
}

/// Makes the folder of the files, so that a wrong one is told before the first row.
///
/// # Errors
/// It is none, and cannot be made.
pub(super) fn make_folder(request: &Request) -> Result<(), Box<TableError>> {
    let OnReject::File { folder, .. } = &request.on_reject else {
        return Ok(());
    };
    fs_err::create_dir_all(folder).map_err(|error| {
        let message = format!("no folder for rejected rows: {error}");
        refused(Side::Target, "copy.rejects_file", message)
    })
}

/// The rejected rows of one table's load.
pub(super) struct Rejects {
    path: PathBuf,
    max: Option<u64>,
    /// The source's and the target's table, as reports call them.
    names: [String; 2],
    file: Option<BufWriter<fs_err::File>>,
    count: u64,
}

/// What is wrong with a row.
pub(super) struct Fault<'a> {
    /// The row in the order of reading, from 1.
    pub row: u64,
    /// The target's column, if one is at fault.
    pub column: Option<&'a str>,
    /// Stable name.
    pub code: &'a str,
    /// SQLSTATE, if the server has refused the row.
    pub sqlstate: Option<&'a str>,
    /// Why; never a value.
    pub reason: &'a str,
}

impl Rejects {
    /// None yet, of a table that is called `table` at the source. `None` where a refused row fails its table.
    pub fn of(request: &Request, table: &str, target: &Relation) -> Option<Rejects> {
        let OnReject::File { folder, max } = &request.on_reject else {
            return None;
        };
        Some(Rejects {
            path: folder.join(file_name(target)),
            max: *max,
            names: [table.to_owned(), target.to_string()],
            file: None,
            count: 0,
        })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Writes one down; `value` gives the values of its row by the place of their column in the plan.
    ///
    /// # Errors
    /// It is one too many, or the file cannot be written.
    pub fn add<'a>(
        &mut self,
        plan: &'a TablePlan,
        fault: &Fault<'_>,
        value: &'a dyn Fn(usize) -> Value<'a>,
    ) -> Result<(), Box<TableError>> {
        if self.max.is_some_and(|max| self.count >= max) {
            return Err(self.too_many());
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.create().map_err(|error| self.not_written(&error))?,
        };
        let cells = |columns: Vec<usize>| -> Cells<'a> { Cells { plan, columns, value } };
        let key = key_columns(plan);
        let [table, target] = &self.names;
        let line = Line {
            table,
            target,
            row: fault.row,
            key: (!key.is_empty()).then(|| cells(key)),
            column: fault.column,
            code: fault.code,
            sqlstate: fault.sqlstate,
            reason: fault.reason,
            values: cells((0..plan.columns.len()).collect()),
        };
        serde_json::to_writer(&mut file, &line)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(|error| self.not_written(&error))?;
        self.file = Some(file);
        self.count += 1;
        Ok(())
    }

    fn too_many(&mut self) -> Box<TableError> {
        let max = self.max.unwrap_or_default();
        let message = format!("the target refuses more than {max} rows, which `max_rejects` allows");
        let mut error = TableError::refused(WRITE, "copy.too_many_rejects", message);
        let flushed = self.file.as_mut().is_some_and(|file| file.flush().is_ok());
        error.hint = Some(match flushed {
            true => format!("the rows before are in `{}`", self.unfinished().display()),
            false => "raise `max_rejects` to see which".to_owned(),
        });
        error
    }

    /// Before the commit: all lines are on the disk.
    ///
    /// # Errors
    /// They are not.
    pub fn seal(&mut self) -> Result<(), Box<TableError>> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let sealed = file.flush().and_then(|()| file.get_ref().sync_all());
        sealed.map_err(|error| self.not_written(&error))
    }

    /// After the commit: the file takes its place; one of an earlier run goes where there is nothing to tell.
    pub fn publish(&mut self) {
        let unfinished = self.unfinished();
        let done = match self.count {
            0 => remove(&self.path).and_then(|()| remove(&unfinished)),
            _ => fs_err::rename(&unfinished, &self.path),
        };
        if let Err(error) = done {
            tracing::warn!(
                event = "copy.rejects_left",
                target = self.names[1],
                "the file of rejected rows is not in its place: {error}"
            );
        }
    }

    /// Where the lines are; empty if there are none.
    pub fn place(&self) -> String {
        let unfinished = self.unfinished();
        match self.count {
            0 => String::new(),
            _ if unfinished.exists() => unfinished.display().to_string(),
            _ => self.path.display().to_string(),
        }
    }

    fn unfinished(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(UNFINISHED);
        name.into()
    }

    fn create(&self) -> io::Result<BufWriter<fs_err::File>> {
        let path = self.unfinished();
        remove(&path)?;
        let mut options = fs_err::OpenOptions::new();
        // What the rows hold is for their owner alone.
        Ok(BufWriter::new(
            options.write(true).create_new(true).mode(0o600).open(path)?,
        ))
    }

    fn not_written(&self, error: &io::Error) -> Box<TableError> {
        TableError::refused(
            WRITE,
            "copy.rejects_file",
            format!("cannot write rejected rows: {error}"),
        )
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The name of a table's file: letters and digits as they are, all else by its bytes, so that no two tables have the same.
fn file_name(target: &Relation) -> String {
    let mut name = target.joined(|part| {
        let mut spelled = String::new();
        spell(part, &mut spelled);
        spelled
    });
    if name.len() > NAME_BYTES_MAX {
        let whole = crc32fast::hash(name.as_bytes());
        let mut end = NAME_BYTES_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        let _ = write!(name, "%{whole:08x}");
    }
    name + SUFFIX
}

fn spell(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '_' | '-' => out.push(letter),
            _ if letter.is_alphanumeric() => out.push(letter),
            _ => {
                for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
}

#[derive(Serialize)]
struct Line<'t, 'a> {
    table: &'t str,
    target: &'t str,
    row: u64,
    key: Option<Cells<'a>>,
    column: Option<&'t str>,
    code: &'t str,
    sqlstate: Option<&'t str>,
    reason: &'t str,
    values: Cells<'a>,
}

/// Some of a row's values, by the names of their columns at the source.
struct Cells<'a> {
    plan: &'a TablePlan,
    columns: Vec<usize>,
    value: &'a dyn Fn(usize) -> Value<'a>,
}

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for position in &self.columns {
            let column = &self.plan.columns[*position].source;
            map.serialize_entry(&column.name, &Cell(column.logical, (self.value)(*position)))?;
        }
        map.end()
    }
}

/// A value as JSON that every reader takes for the same.
struct Cell<'a>(LogicalType, Value<'a>);

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Value::Null => serializer.serialize_unit(),
            Value::I64(value @ (0 | 1)) if self.0 == LogicalType::Boolean => serializer.serialize_bool(value == 1),
            Value::I64(value) if value.unsigned_abs() <= NUMBER_MAX => serializer.serialize_i64(value),
            Value::I64(value) => serializer.collect_str(&value),
            Value::F64(value) if value.is_finite() => serializer.serialize_f64(value),
            Value::F64(value) if value.is_nan() => serializer.serialize_str("NaN"),
            Value::F64(value) => serializer.serialize_str(if value > 0.0 { "Infinity" } else { "-Infinity" }),
            Value::Decimal(text) | Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => {
                let mut digits = String::with_capacity(2 * bytes.len());
                for byte in bytes {
                    let _ = write!(digits, "{byte:02x}");
                }
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("hex", &digits)?;
                map.end()
            }
            Value::Date(value) => serializer.collect_str(&value),
            Value::Time(value) => serializer.collect_str(&value),
            Value::Timestamp(value) => serializer.collect_str(&value),
            Value::Instant(value) => serializer.collect_str(&value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(schema: Option<&str>, name: &str) -> String {
        file_name(&Relation::new(schema.map(str::to_owned), name))
    }

    #[test]
    fn a_files_name_is_its_tables_as_far_as_a_file_system_takes_it() {
        assert_eq!(name(None, "orders"), "orders.rejects.jsonl");
        assert_eq!(name(Some("dbo"), "Größe_1"), "dbo.Größe_1.rejects.jsonl");
        assert_eq!(name(None, "../a b"), "%2E%2E%2Fa%20b.rejects.jsonl");
        let long = name(None, &"ж".repeat(200));
        assert!(long.len() < 255, "{long}");
    }

    #[test]
    fn two_tables_never_share_a_file() {
        let names = [
            name(None, "a.b"),
            name(Some("a"), "b"),
            name(None, "a%2Eb"),
            name(None, &"x".repeat(210)),
            name(None, &("x".repeat(209) + "y")),
        ];
        for (position, one) in names.iter().enumerate() {
            assert!(!names[..position].contains(one), "{one}");
        }
    }

    #[test]
    fn a_value_is_the_same_to_every_reader_of_json() {
        let json = |logical, value| serde_json::to_string(&Cell(logical, value)).unwrap();
        let whole = LogicalType::Integer { bits: 64, signed: true };
        let float = LogicalType::Float { bits: 64 };
        let bytes = LogicalType::Bytes {
            length: None,
            filled: false,
        };
        assert_eq!(json(LogicalType::Boolean, Value::I64(1)), "true");
        assert_eq!(json(whole, Value::I64(1)), "1");
        assert_eq!(json(whole, Value::I64(1 << 53)), "9007199254740992");
        assert_eq!(json(whole, Value::I64((1 << 53) + 1)), "\"9007199254740993\"");
        assert_eq!(json(whole, Value::I64(i64::MIN)), "\"-9223372036854775808\"");
        assert_eq!(json(float, Value::F64(0.1)), "0.1");
        assert_eq!(json(float, Value::F64(f64::NEG_INFINITY)), "\"-Infinity\"");
        assert_eq!(json(float, Value::Decimal("1.10")), "\"1.10\"");
        assert_eq!(json(bytes, Value::Bytes(&[0, 255])), r#"{"hex":"00ff"}"#);
        assert_eq!(json(whole, Value::Null), "null");
    }
}
