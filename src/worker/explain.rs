//! What the worker's end means: the exit code of the run, and one error in words.
//!
//! Pure: everything that was observed comes in, nothing is looked up here.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::memory::MemoryLimit;
use super::watch::{Ended, Status, Stop};
use crate::failure::ExitCode;
use crate::outputs::{ErrorReport, Events};

/// The verdict on a run whose worker was started.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerEnd {
    /// What `dray` exits with.
    pub exit_code: u8,
    /// What failed; none for exit code 0.
    pub error: Option<ErrorReport>,
}

/// What is known beside the end itself.
pub struct Observed<'a> {
    /// The entrypoint, as it was named.
    pub entrypoint: &'a str,
    /// What the worker said of itself.
    pub events: &'a Events,
    /// faulthandler's report of a crash.
    pub fault: Option<String>,
    /// Whether the kernel killed a process for want of memory during the run.
    pub oom_killed: bool,
    /// The memory the worker could have used.
    pub memory_limit: Option<MemoryLimit>,
    /// The time limit of the run, if it had one.
    pub time_limit: Option<Duration>,
    /// The grace time after a stop.
    pub grace: Duration,
    /// Why the run was stopped from within by SIGTERM, if it was.
    pub stop_reason: Option<&'a str>,
}

/// Explains the worker's end.
pub fn explain(ended: &Ended, observed: &Observed) -> WorkerEnd {
    let entrypoint = observed.entrypoint;
    // Python ends with 0 then, though it has cut off what was still at work.
    let cut_off_by = match (ended.status, observed.events.stopped_late) {
        (Status::Exited(0), Some(number)) => Signal::try_from(number).ok(),
        _ => None,
    };
    let during = match cut_off_by {
        Some(_) => " while its threads or exit handlers were still at work".to_owned(),
        None => killed(ended, observed),
    };
    let stop = ended.stop.or(cut_off_by.map(Stop::Signal));
    if stop == Some(Stop::TimeLimit) && (ended.status != Status::Exited(0) || cut_off_by.is_some()) {
        let limit = humantime::format_duration(observed.time_limit.unwrap_or_default());
        let message = format!("{entrypoint} was stopped: the time limit of {limit} was reached{during}");
        return stopped(ExitCode::TimeLimit.number(), "run.time_limit", message, observed);
    }
    if let Some(Stop::Signal(signal)) = stop
        && (ended.killed_after_grace || cut_off_by.is_some() || code_of(ended.status) == 128 + signal as i32)
    {
        let (code, reason) = match observed.stop_reason {
            Some(reason) => ("run.preempted", format!(": {reason}")),
            None => ("run.stopped", String::new()),
        };
        let exit_code = match cut_off_by {
            Some(_) => 128 + signal as i32,
            None => code_of(ended.status),
        };
        let message = format!("{entrypoint} was stopped by {signal}{reason}{during}");
        return stopped(byte(exit_code), code, message, observed);
    }
    match ended.status {
        Status::Exited(0) => match observed.events.errors.first() {
            // The outputs turned out to be bad after the script had ended.
            Some(error) => WorkerEnd {
                exit_code: byte(error.exit_code.unwrap_or(1)),
                error: Some(ErrorReport::from_event(error)),
            },
            None => WorkerEnd {
                exit_code: 0,
                error: None,
            },
        },
        Status::Exited(code) => exited(code, observed),
        Status::Signalled(signal) => signalled(signal, ended, observed),
        Status::KeeperKilled => {
            let message = format!("{entrypoint} was killed together with dray's own process that watched it");
            failed(128 + 9, "worker.killed", message, observed)
        }
    }
}

/// With the place where the script was when it was told, if it was told by an exception that it let pass.
fn stopped(exit_code: u8, code: &str, message: String, observed: &Observed) -> WorkerEnd {
    let mut end = failed(exit_code, code, message, observed);
    if let Some(error) = &mut end.error {
        let raised = observed.events.errors.first();
        error.traceback = raised.and_then(|raised| raised.traceback.clone());
        error.location = raised.and_then(|raised| raised.location.clone());
        if raised.is_none() && observed.events.stopped_late.is_none() {
            error.location = observed.events.exit.as_ref().and_then(|exit| exit.location.clone());
        }
    }
    end
}

fn exited(code: i32, observed: &Observed) -> WorkerEnd {
    let entrypoint = observed.entrypoint;
    if let Some(error) = observed.events.errors.first() {
        return WorkerEnd {
            exit_code: byte(code),
            error: Some(ErrorReport::from_event(error)),
        };
    }
    let Some(exit) = &observed.events.exit else {
        let message = format!(
            "{entrypoint} ended the process with exit code {code} without a Python exception (os._exit, or exit in a C library)"
        );
        return failed(byte(code), "script.exited_abruptly", message, observed);
    };
    let message = match &exit.message {
        Some(message) => format!("{entrypoint} ended itself with exit code {code}: {message}"),
        None => format!("{entrypoint} ended itself with exit code {code}"),
    };
    let mut end = failed(byte(code), "script.exited", message, observed);
    if let Some(error) = &mut end.error {
        error.location = exit.location.clone();
    }
    end
}

fn signalled(signal: i32, ended: &Ended, observed: &Observed) -> WorkerEnd {
    let name = signal_name(signal);
    let entrypoint = observed.entrypoint;
    let memory = memory_text(ended, observed);
    let exit_code = byte(128 + signal);
    if signal == libc::SIGKILL {
        return if observed.oom_killed {
            let message = format!("{entrypoint} was killed by the kernel, which was out of memory{memory}");
            failed(exit_code, "worker.out_of_memory", message, observed)
        } else {
            let message = format!("{entrypoint} was killed by {name} from outside{memory}");
            failed(exit_code, "worker.killed", message, observed)
        };
    }
    let message = format!("{entrypoint} crashed: {name} in native code{memory}");
    let mut end = failed(exit_code, "worker.crashed", message, observed);
    if let Some(error) = &mut end.error {
        error.traceback = observed.fault.clone();
        error.location = observed.fault.as_deref().and_then(innermost_frame);
    }
    end
}

/// `main.py, line 3, in f` of faulthandler's report, whose first frame is the innermost one.
fn innermost_frame(fault: &str) -> Option<String> {
    let line = fault.lines().find_map(|line| line.trim().strip_prefix("File \""))?;
    let (path, rest) = line.split_once("\", line ")?;
    let (number, function) = rest.split_once(" in ")?;
    let file = path.rsplit('/').next().unwrap_or(path);
    Some(format!("{file}, line {number}, in {function}"))
}

fn failed(exit_code: u8, code: &str, message: String, observed: &Observed) -> WorkerEnd {
    let phase = observed.events.last_phase.clone();
    WorkerEnd {
        exit_code,
        error: Some(ErrorReport {
            code: code.to_owned(),
            message,
            phase,
            ..ErrorReport::default()
        }),
    }
}

fn killed(ended: &Ended, observed: &Observed) -> String {
    if ended.killed_after_grace {
        format!(
            ", and killed after the grace time of {}",
            humantime::format_duration(observed.grace)
        )
    } else {
        String::new()
    }
}

fn memory_text(ended: &Ended, observed: &Observed) -> String {
    let peak = mebibytes(ended.peak_memory_bytes);
    match observed.memory_limit {
        Some(limit) => format!(
            "; peak memory {peak} MiB of {} MiB ({})",
            mebibytes(limit.bytes),
            limit.set_by
        ),
        None => format!("; peak memory {peak} MiB"),
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}

fn code_of(status: Status) -> i32 {
    match status {
        Status::Exited(code) => code,
        Status::Signalled(signal) => 128 + signal,
        Status::KeeperKilled => 128 + libc::SIGKILL,
    }
}

fn byte(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |known| known.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(events: &Events) -> Observed<'_> {
        Observed {
            entrypoint: "main.py",
            events,
            fault: None,
            oom_killed: false,
            memory_limit: Some(MemoryLimit {
                bytes: 2048 * 1024 * 1024,
                set_by: "cgroup",
            }),
            time_limit: Some(Duration::from_secs(9000)),
            grace: Duration::from_secs(30),
            stop_reason: None,
        }
    }

    fn ended(status: Status) -> Ended {
        Ended {
            status,
            stop: None,
            killed_after_grace: false,
            peak_memory_bytes: 1900 * 1024 * 1024,
        }
    }

    fn message(end: &WorkerEnd) -> &str {
        &end.error.as_ref().unwrap().message
    }

    #[test]
    fn an_out_of_memory_kill_is_told_from_a_kill_from_outside() {
        let events = Events::default();
        let mut known = observed(&events);
        let by_hand = explain(&ended(Status::Signalled(9)), &known);
        assert_eq!(by_hand.error.as_ref().unwrap().code, "worker.killed");
        known.oom_killed = true;
        let by_kernel = explain(&ended(Status::Signalled(9)), &known);
        assert_eq!(by_kernel.exit_code, 137);
        assert_eq!(
            message(&by_kernel),
            "main.py was killed by the kernel, which was out of memory; peak memory 1900 MiB of 2048 MiB (cgroup)"
        );
    }

    #[test]
    fn the_time_limit_has_a_code_of_its_own_whatever_the_worker_ended_with() {
        let events = Events::default();
        let late = Ended {
            stop: Some(Stop::TimeLimit),
            killed_after_grace: true,
            ..ended(Status::Signalled(9))
        };
        let end = explain(&late, &observed(&events));
        assert_eq!(end.exit_code, 116);
        assert_eq!(
            message(&end),
            "main.py was stopped: the time limit of 2h 30m was reached, and killed after the grace time of 30s"
        );
    }

    #[test]
    fn a_signal_that_cut_off_threads_is_told_whoever_sent_it() {
        let events = Events {
            stopped_late: Some(15),
            ..Events::default()
        };
        let end = explain(&ended(Status::Exited(0)), &observed(&events));
        assert_eq!(end.exit_code, 143);
        assert_eq!(
            message(&end),
            "main.py was stopped by SIGTERM while its threads or exit handlers were still at work"
        );
        let failed = explain(&ended(Status::Exited(3)), &observed(&events));
        assert_eq!(failed.exit_code, 3);
    }

    #[test]
    fn a_stop_names_the_place_where_the_script_was() {
        let exit = crate::outputs::ExitEvent {
            message: None,
            location: Some("main.py, line 6, in load".to_owned()),
        };
        let events = Events {
            exit: Some(exit),
            ..Events::default()
        };
        let stopped = Ended {
            stop: Some(Stop::Signal(Signal::SIGTERM)),
            ..ended(Status::Exited(143))
        };
        let error = explain(&stopped, &observed(&events)).error.unwrap();
        assert_eq!(error.message, "main.py was stopped by SIGTERM");
        assert_eq!(error.location.unwrap(), "main.py, line 6, in load");
    }

    #[test]
    fn a_stop_from_within_says_why() {
        let events = Events::default();
        let stopped = Ended {
            stop: Some(Stop::Signal(Signal::SIGTERM)),
            ..ended(Status::Exited(143))
        };
        let mut known = observed(&events);
        known.stop_reason = Some("this spot node is taken away (now)");
        let error = explain(&stopped, &known).error.unwrap();
        assert_eq!(error.code, "run.preempted");
        assert_eq!(
            error.message,
            "main.py was stopped by SIGTERM: this spot node is taken away (now)"
        );
    }

    #[test]
    fn a_script_that_handles_sigterm_and_ends_well_has_succeeded() {
        let events = Events::default();
        let stopped = Ended {
            stop: Some(Stop::Signal(Signal::SIGTERM)),
            ..ended(Status::Exited(0))
        };
        assert_eq!(
            explain(&stopped, &observed(&events)),
            WorkerEnd {
                exit_code: 0,
                error: None
            }
        );
    }

    #[test]
    fn an_exit_code_without_an_exit_event_came_from_os_exit() {
        let events = Events::default();
        let end = explain(&ended(Status::Exited(7)), &observed(&events));
        assert_eq!(
            (end.exit_code, end.error.unwrap().code.as_str()),
            (7, "script.exited_abruptly")
        );
    }

    #[test]
    fn a_crash_names_the_frame_that_faulthandler_saw_last() {
        let fault = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f (most recent call first):\n  \
                     File \"/a/ctypes/__init__.py\", line 519 in string_at\n  File \"/x/main.py\", line 3 in <module>";
        assert_eq!(innermost_frame(fault).unwrap(), "__init__.py, line 519, in string_at");
    }
}
