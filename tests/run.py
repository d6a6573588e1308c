"""`make test`: every Rust and Python test of the repository, with private database servers; one closing line of counts.

DRAY_ROUND_TRIPS is how many random tables are copied there and back (200; 10,000 for `make test-long`). Arguments go to
pytest. Standard library only, Python 3.9 and up.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import xml.etree.ElementTree
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "packaging"))

import debian  # noqa: E402
import servers  # noqa: E402
import virtual_environment  # noqa: E402
from steps import TARGET, Step, StepFailed, Steps, relative, require_python, stop_on_signals, tail  # noqa: E402

PACKAGES = [
    *("postgresql", "mariadb-server"),
    *("odbc-postgresql", "odbc-mariadb", "libsqliteodbc", "tdsodbc"),
    "unixodbc",  # libodbc, which pyodbc's wheel does not bring
    "unzip",  # what dray is held against
    # The system's own Python is one of those that the suites run under, with its shared library and in environments.
    *("libpython3-dev", "python3-venv"),
    "binutils",  # nm
]
SHOWN_FAILURES = 20
# Of what a failed test said: its first lines, and its last, where pytest says what was compared.
FIRST_LINES, LAST_LINES, LINE_CHARACTERS = 6, 6, 300
# One more than there are CPUs: every tenth second of a test is a wait for a server or a time limit. The private servers
# take 50 sessions, and each worker has some hundred megabytes of its own.
MOST_WORKERS = 4
NO_TESTS = 5  # pytest's exit code where nothing was chosen


@dataclass
class Counts:
    """How many tests ended in which way, and of those that failed the name, with what it said in lines below it."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add the counts of another run to these."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures

    def line(self) -> str:
        """The closing line."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def main() -> int:
    """Run everything; 0 only if tests ran and none failed."""
    print("make test")
    counts = Counts()
    steps = Steps("test")
    try:
        require_python()
        stop_on_signals()
        # A shell's background job ignores it, and so would all that the tests start to interrupt it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        debian.require_cargo()
        needed = [*debian.for_browsing(), *debian.for_compiling(), *debian.for_virtual_environments()]
        debian.require(steps, [*PACKAGES, *needed])
        python = virtual_environment.prepare(steps, TARGET / "venv", ROOT / "tests" / "requirements.txt")
        # With the tests and their dependencies at once: each part alone would have other features of shared crates, and
        # compile the library and half of what it stands on anew.
        build = ["cargo", "build", "--workspace", "--lib", "--bins", "--tests", "--test", "round_trip", "--locked"]
        steps.run("cargo build", build)
        ended = steps.run("cargo test", ["cargo", "test", "--workspace", "--locked", "--no-fail-fast"], check=False)
        counts.add(rust_counts(ended))
        with servers.running() as variables:
            counts.add(run_round_trips(steps, variables))
            counts.add(run_pytest(steps, python, variables))
    except (StepFailed, servers.ServerFailed) as error:
        print(error)
        counts.failed += 1
    for failure in counts.failures[:SHOWN_FAILURES]:
        print(f"  failed: {failure}")
    if len(counts.failures) > SHOWN_FAILURES:
        print(f"  and {len(counts.failures) - SHOWN_FAILURES} more")
    print(f"  logs: {relative(steps.logs)}/")
    print(counts.line())
    return 0 if counts.passed > 0 and counts.failed == 0 else 1


def run_round_trips(steps: Steps, variables: dict[str, str]) -> Counts:
    """Random tables, copied there and back: a Rust test that needs the servers, so `cargo test` alone leaves it out."""
    command = ["cargo", "test", "--workspace", "--locked", "--test", "round_trip"]
    return rust_counts(steps.run("round trips", command, env={**os.environ, **variables}, check=False))


def run_pytest(steps: Steps, python: Path, variables: dict[str, str]) -> Counts:
    """The Python suites, by the interpreter of the test environment: several at once, but for those marked `alone`."""
    environment = {**os.environ, **variables, "PYTHONDONTWRITEBYTECODE": "1"}
    workers = min((os.cpu_count() or 1) + 1, MOST_WORKERS)
    passes = {"pytest": ["-n", str(workers), "-m", "not alone"], "pytest alone": ["-m", "alone"]}
    counts = Counts()
    for title, chosen in passes.items():
        report = steps.logs / f"{title.replace(' ', '-')}.xml"
        command = [str(python), "-m", "pytest", *chosen, f"--junitxml={report}", "--durations=30", "-v", *sys.argv[1:]]
        # Either pass may have no test of those that were asked for.
        fine = (0, NO_TESTS)
        ended = steps.run(title, command, cwd=ROOT / "tests", env=environment, check=False, accepted=fine)
        if not report.is_file():
            raise StepFailed(f"pytest wrote no report; {tail(ended.log)}")
        found = pytest_counts(report)
        if found.failed == 0 and ended.exit_code not in fine:
            found.failed = 1
            found.failures.append(f"pytest itself, exit code {ended.exit_code}: see {relative(ended.log)}")
        counts.add(found)
    if counts == Counts():
        counts.failed = 1
        counts.failures.append("pytest found no test")
    return counts


def rust_counts(ended: Step) -> Counts:
    """What `cargo test` printed, summed over its test programs; a program that could not be built, or ended without its
    line, counts as one failure.
    """
    text = ended.log.read_text("utf-8", "replace")
    counts = Counts(failures=[f"{name} (cargo test)" for name in re.findall(r"^test (.+) \.\.\. FAILED$", text, re.M)])
    for passed, failed, ignored in re.findall(
        r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;", text, re.M
    ):
        counts.passed += int(passed)
        counts.failed += int(failed)
        counts.skipped += int(ignored)
    if counts.failed == 0 and ended.exit_code != 0:
        counts.failed = 1
        counts.failures.append(f"cargo test itself, exit code {ended.exit_code}: see {relative(ended.log)}")
    return counts


def pytest_counts(report: Path) -> Counts:
    """The counts of a JUnit report as pytest writes it; an error while collecting counts as a failure."""
    counts = Counts()
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        failures = [*case.findall("failure"), *case.findall("error")]
        if failures:
            counts.failed += 1
            said = "\n".join(failure.get("message", "") for failure in failures)
            counts.failures.append(f"{case.get('classname')}::{case.get('name')} (pytest){shortened(said)}")
        elif case.find("skipped") is not None:
            counts.skipped += 1
        else:
            counts.passed += 1
    return counts


def shortened(text: str) -> str:
    """The first and the last lines of what a failed test said, each on a line of its own below the test's name."""
    lines = text.splitlines()
    if len(lines) > FIRST_LINES + LAST_LINES:
        left_out = len(lines) - FIRST_LINES - LAST_LINES
        lines = [*lines[:FIRST_LINES], f"({left_out} more lines)", *lines[-LAST_LINES:]]
    return "".join(f"\n    {line[:LINE_CHARACTERS]}" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
