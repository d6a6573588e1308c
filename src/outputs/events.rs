//! What the worker wrote down while it ran: events.jsonl of the run folder, one JSON object a line.
//!
//! The worker may die in the middle of a line, and a newer native module may know more events than this executable: a
//! torn last line and unknown events are passed over. Numbers keep their digits.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::OutputsError;

/// The events of one run, summed up.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// `dray.outputs` as it was at the end.
    pub outputs: Map<String, Value>,
    /// The phase that the worker reached: `importing`, `running` or `finishing`.
    pub last_phase: Option<String>,
    /// The errors that the worker reported, in their order; the first one is what ended the script, a later one came
    /// from an exit handler.
    pub errors: Vec<ErrorEvent>,
    /// That the script ended itself by `sys.exit`, if it did.
    pub exit: Option<ExitEvent>,
    /// The number of the signal that came when the script itself had ended, and Python still waited for its threads or ran
    /// exit handlers.
    pub stopped_late: Option<i32>,
    /// One report a copied table, in their order.
    pub copies: Vec<Value>,
    /// Lines that could not be read, a torn last one not counted.
    pub unreadable_lines: usize,
}

/// A failure that the worker reported.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ErrorEvent {
    /// Class of the failure, such as `raised_while_running`.
    pub kind: Option<String>,
    /// Stable code, such as `script.raised`.
    pub code: Option<String>,
    /// The exception's type, such as `ValueError`.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// The exception's text.
    pub message: Option<String>,
    /// The traceback without dray's frames.
    pub traceback: Option<String>,
    /// Where it was raised, such as `main.py:12 in load`.
    pub location: Option<String>,
    /// The exit code that the worker means to end with.
    pub exit_code: Option<i32>,
    /// The phase in which it happened.
    pub phase: Option<String>,
}

/// The script called `sys.exit`, or raised SystemExit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ExitEvent {
    /// The text it was called with; Python prints it and exits with 1.
    pub message: Option<String>,
    /// Where, such as `main.py, line 12, in main`.
    pub location: Option<String>,
}

impl Events {
    /// Reads the events at `path`; a missing file is a run without events.
    ///
    /// # Errors
    /// [`OutputsError::Events`] if the file is there and cannot be read.
    pub fn read(path: &Path) -> Result<Events, OutputsError> {
        let mut events = Events::default();
        let file = match fs_err::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(events),
            Err(error) => return Err(OutputsError::Events(error)),
        };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(OutputsError::Events)? > 0 {
            let is_whole = line.ends_with(b"\n");
            if !line.trim_ascii().is_empty() && events.apply(&line).is_none() && is_whole {
                events.unreadable_lines += 1;
            }
            line.clear();
        }
        if events.unreadable_lines > 0 {
            tracing::warn!(
                event = "outputs.unreadable_events",
                lines = events.unreadable_lines,
                "some of the worker's events could not be read"
            );
        }
        Ok(events)
    }

    /// `None` if the line is no event at all, or a known one of the wrong shape.
    fn apply(&mut self, line: &[u8]) -> Option<()> {
        let mut event: Map<String, Value> = serde_json::from_slice(line).ok()?;
        match event.get("event")?.as_str()? {
            "phase" => self.last_phase = Some(event.get("phase")?.as_str()?.to_owned()),
            "outputs" => {
                let removed = match event.remove("removed") {
                    Some(keys) => serde_json::from_value::<Vec<String>>(keys).ok()?,
                    None => Vec::new(),
                };
                let set = match event.remove("set") {
                    Some(Value::Object(set)) => set,
                    Some(_) => return None,
                    None => Map::new(),
                };
                for key in removed {
                    self.outputs.shift_remove(&key);
                }
                self.outputs.extend(set);
            }
            "error" => {
                let mut error: ErrorEvent = serde_json::from_value(Value::Object(event)).ok()?;
                error.phase = error.phase.or_else(|| self.last_phase.clone());
                self.errors.push(error);
            }
            "exit" => self.exit = Some(serde_json::from_value(Value::Object(event)).ok()?),
            "stopped_late" => {
                self.stopped_late = Some(i32::try_from(event.get("signal")?.as_i64()?).ok()?);
                // A script that ended itself did not say so.
                self.last_phase = Some("finishing".to_owned());
            }
            "copy" => self.copies.push(event.remove("table")?),
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(content: &str) -> Events {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        fs_err::write(&path, content).unwrap();
        Events::read(&path).unwrap()
    }

    #[test]
    fn a_missing_file_is_a_run_without_events() {
        let events = Events::read(Path::new("/nowhere/events.jsonl")).unwrap();
        assert!(events.outputs.is_empty() && events.errors.is_empty());
    }

    #[test]
    fn outputs_are_applied_in_their_order_with_the_digits_of_numbers() {
        let events = read(concat!(
            "{\"event\":\"outputs\",\"set\":{\"a\":1,\"b\":1.10},\"removed\":[]}\n",
            "{\"event\":\"outputs\",\"set\":{\"c\":12345678901234567890123},\"removed\":[\"a\"]}\n",
            "{\"event\":\"outputs\",\"set\":{\"b\":2.50}}\n",
        ));
        assert_eq!(
            Value::Object(events.outputs).to_string(),
            r#"{"b":2.50,"c":12345678901234567890123}"#
        );
    }

    #[test]
    fn errors_carry_the_phase_they_happened_in() {
        let events = read(concat!(
            "{\"event\":\"phase\",\"phase\":\"importing\"}\n",
            "{\"event\":\"error\",\"kind\":\"x\",\"code\":\"script.raised\",\"type\":\"ValueError\",\"message\":\"m\",",
            "\"traceback\":\"t\",\"location\":\"main.py:1 in f\",\"exit_code\":1}\n",
            "{\"event\":\"phase\",\"phase\":\"finishing\"}\n",
        ));
        assert_eq!(events.last_phase.as_deref(), Some("finishing"));
        assert_eq!(events.errors[0].phase.as_deref(), Some("importing"));
        assert_eq!(events.errors[0].type_name.as_deref(), Some("ValueError"));
        assert_eq!(events.errors[0].exit_code, Some(1));
    }

    #[test]
    fn torn_and_unknown_lines_are_passed_over() {
        let events = read(concat!(
            "{\"event\":\"copy\",\"table\":{\"rows\":5}}\n",
            "{\"event\":\"from_the_future\",\"x\":1}\n",
            "{\"event\":\"outputs\",\"set\":[]}\n",
            "\n",
            "not json\n",
            "{\"event\":\"outputs\",\"set\":{\"a\":",
        ));
        assert_eq!(events.copies, [json!({"rows": 5})]);
        assert!(events.outputs.is_empty());
        assert_eq!(events.unreadable_lines, 2);
    }

    #[test]
    fn a_whole_last_line_counts_without_its_line_feed() {
        assert_eq!(read("{\"event\":\"outputs\",\"set\":{\"a\":1}}").outputs["a"], 1);
    }
}
