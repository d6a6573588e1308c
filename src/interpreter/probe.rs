//! Asks one Python what it is, by running a small script under it.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::facts::Facts;
use super::suitability::Refusal;

/// The question, in Python.
const SCRIPT: &str = include_str!("probe.py");

/// Marks the answer among what `sitecustomize`, or a launcher, may print.
const TAG: &str = "@dray-python@";

/// A Python on a cold network disk may take seconds; one that hangs must not eat the task's time.
const LIMIT: Duration = Duration::from_secs(30);

/// How much of each stream is kept: its end, since the answer comes last.
const KEPT_BYTES: usize = 64 * 1024;

/// Runs `candidate`, in `folder` where one is given: a launcher may choose by the current folder (pyenv reads
/// `.python-version`), and the project's is where the script will run. Once `is_over` says so, it is waited for no more.
pub(super) fn probe(candidate: &Path, folder: Option<&Path>, is_over: &dyn Fn() -> bool) -> Result<Facts, Refusal> {
    probe_within(candidate, folder, LIMIT, is_over)
}

fn probe_within(
    candidate: &Path,
    folder: Option<&Path>,
    limit: Duration,
    is_over: &dyn Fn() -> bool,
) -> Result<Facts, Refusal> {
    // -I leaves out PYTHON* variables, the user's site-packages and the current folder.
    let mut answer = ask(candidate, &["-I", "-B"], folder, limit, is_over)?;
    if answer.facts.is_none() && answer.rejects_isolation() {
        answer = ask(candidate, &["-E", "-s", "-B"], folder, limit, is_over)?; // Python 2 knows no -I
    }
    answer.facts.ok_or(Refusal::NoAnswer {
        status: answer.status.to_string(),
        output: answer.output,
    })
}

struct Answer {
    facts: Option<Facts>,
    status: ExitStatus,
    /// The end of both streams, on one line.
    output: String,
}

impl Answer {
    fn rejects_isolation(&self) -> bool {
        self.status.code() == Some(2) && self.output.contains("-I")
    }
}

fn ask(
    candidate: &Path,
    flags: &[&str],
    folder: Option<&Path>,
    limit: Duration,
    is_over: &dyn Fn() -> bool,
) -> Result<Answer, Refusal> {
    let mut command = Command::new(candidate);
    command.args(flags).arg("-c").arg(SCRIPT);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.process_group(0); // so that a launcher's children can be ended with it
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let not_started = |error: io::Error| Refusal::NotStarted {
        cause: error.to_string(),
    };
    let mut child = command.spawn().map_err(not_started)?;
    let watched = watch(&mut child, limit, is_over);
    let (stdout, stderr, status) = match watched {
        Ok(watched) => watched,
        Err(error) => {
            end(&mut child);
            return Err(not_started(error));
        }
    };
    let output = excerpt(&stdout, &stderr);
    let Some(status) = status else {
        end(&mut child);
        return Err(Refusal::TimedOut {
            limit_s: limit.as_secs(),
            output,
        });
    };
    let text = String::from_utf8_lossy(&stdout);
    let facts = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(TAG))
        .and_then(|json| serde_json::from_str(json).ok());
    Ok(Answer { facts, status, output })
}

/// Reads both streams until the child ends. No status: the limit was reached, or the run is over. A grandchild that keeps
/// the streams open does not hold it up.
fn watch(
    child: &mut Child,
    limit: Duration,
    is_over: &dyn Fn() -> bool,
) -> io::Result<(Vec<u8>, Vec<u8>, Option<ExitStatus>)> {
    let started = Instant::now();
    let mut stdout = Stream::new(child.stdout.take())?;
    let mut stderr = Stream::new(child.stderr.take())?;
    let mut pause_ms = 20;
    loop {
        if stdout.is_open() || stderr.is_open() {
            // Not a pidfd: AlmaLinux 8 has kernel 4.18, and pidfd_open came with 5.3. So the wait has an end.
            let mut fds: Vec<PollFd<'_>> = [stdout.poll_fd(), stderr.poll_fd()].into_iter().flatten().collect();
            let pause = Timespec {
                tv_sec: 0,
                tv_nsec: pause_ms * 1_000_000,
            };
            match poll(&mut fds, Some(&pause)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        } else {
            std::thread::sleep(Duration::from_millis(1)); // both streams are closed: it is about to end
        }
        let status = child.try_wait()?;
        stdout.read()?;
        stderr.read()?;
        if status.is_some() || started.elapsed() >= limit || is_over() {
            return Ok((stdout.kept, stderr.kept, status));
        }
        pause_ms = (pause_ms * 2).min(200);
    }
}

/// One stream of the child, of which the end is kept.
struct Stream<R> {
    source: Option<R>,
    kept: Vec<u8>,
}

impl<R: Read + AsFd> Stream<R> {
    fn new(source: Option<R>) -> io::Result<Self> {
        if let Some(source) = &source {
            rustix::io::ioctl_fionbio(source, true)?;
        }
        Ok(Stream {
            source,
            kept: Vec::new(),
        })
    }

    fn is_open(&self) -> bool {
        self.source.is_some()
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.source.as_ref().map(|source| PollFd::new(source, PollFlags::IN))
    }

    /// Takes what is there, and lets go of a stream that has ended.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        // Bounded, so that a stream that is written faster than it is read does not hide the time limit.
        for _ in 0..256 {
            let Some(source) = &mut self.source else { return Ok(()) };
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(count) => {
                    self.kept.extend_from_slice(&buffer[..count]);
                    if self.kept.len() > 2 * KEPT_BYTES {
                        self.kept.drain(..self.kept.len() - KEPT_BYTES);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Ends the child with all of its process group.
fn end(child: &mut Child) {
    if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// The end of both streams on one line, for an error.
fn excerpt(stdout: &[u8], stderr: &[u8]) -> String {
    let shown = |name: &str, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with(TAG))
            .collect();
        let joined = lines.join(" | ");
        let tail: String = joined
            .chars()
            .skip(joined.chars().count().saturating_sub(300))
            .collect();
        (!tail.is_empty()).then(|| format!("{name} `{tail}`"))
    };
    [shown("stderr", stderr), shown("stdout", stdout)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executable file. Written by a process of its own: a test in another thread that forks while this process has
    /// it open for writing would make its start fail with "Text file busy".
    fn script(folder: &Path, text: &str) -> std::path::PathBuf {
        let (draft, path) = (folder.join("draft"), folder.join("python3"));
        fs_err::write(&draft, text).unwrap();
        assert!(
            Command::new("install")
                .arg("-m755")
                .args([&draft, &path])
                .status()
                .unwrap()
                .success()
        );
        path
    }

    #[test]
    fn a_python_answers_also_when_a_launcher_prints_before_and_after() {
        let root = tempfile::tempdir().unwrap();
        let launcher = script(
            root.path(),
            "#!/bin/sh\necho noise\npython3 \"$@\"\nprintf 'more @dray-python@'\n",
        );
        let facts = probe(&launcher, None, &|| false).unwrap();
        assert_eq!(facts.implementation, "cpython");
        assert_eq!(facts.build.unwrap().pointer_bits, usize::BITS);
        assert_ne!(facts.executable, launcher);
    }

    #[test]
    fn a_program_that_is_no_python_is_refused_with_what_it_said() {
        let root = tempfile::tempdir().unwrap();
        let other = script(
            root.path(),
            "#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n",
        );
        assert_eq!(
            probe(&other, None, &|| false).unwrap_err().to_string(),
            "it did not answer as a Python would: it ended with exit status: 127 and wrote: stderr `pyenv: python3: \
             command not found`"
        );
    }

    #[test]
    fn a_file_that_the_system_cannot_start_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let nothing = script(root.path(), "\x7fELF of another machine");
        assert!(matches!(
            probe(&nothing, None, &|| false),
            Err(Refusal::NotStarted { .. })
        ));
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let root = tempfile::tempdir().unwrap();
        let pid_file = root.path().join("pid");
        let hanging = script(
            root.path(),
            &format!(
                "#!/bin/sh\nsleep 300 &\necho $! > {}\necho waiting\nwait\n",
                pid_file.display()
            ),
        );
        let started = Instant::now();
        let refusal = probe_within(&hanging, None, Duration::from_secs(1), &|| false).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::TimedOut {
                limit_s: 1,
                output: "stdout `waiting`".to_owned()
            }
        );
        assert!(started.elapsed() < Duration::from_secs(10));
        let pid: i32 = fs_err::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        // A killed process is gone a moment later, or stays as a zombie where nobody waits for it.
        let runs = || fs_err::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while runs() {
            assert!(started.elapsed() < Duration::from_secs(10), "the child still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_grandchild_that_keeps_the_streams_open_does_not_hold_up_the_answer() {
        let root = tempfile::tempdir().unwrap();
        let launcher = script(root.path(), "#!/bin/sh\nsleep 3 &\nexec python3 \"$@\"\n");
        let started = Instant::now();
        probe(&launcher, None, &|| false).unwrap();
        assert!(started.elapsed() < Duration::from_millis(2500));
    }

    #[test]
    fn a_flood_on_standard_output_is_read_but_not_kept() {
        let root = tempfile::tempdir().unwrap();
        let flooding = script(
            root.path(),
            "#!/bin/sh\nhead -c 20000000 /dev/zero\nexec python3 \"$@\"\n",
        );
        assert_eq!(probe(&flooding, None, &|| false).unwrap().implementation, "cpython");
    }
}
