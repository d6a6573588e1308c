"""`make lint`: formatting, clippy, links in the documentation, ruff, the types of the Python package.

Standard library only, Python 3.9 and up.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "packaging"))

import debian  # noqa: E402
import virtual_environment  # noqa: E402
from steps import TARGET, StepFailed, Steps, require_python, stop_on_signals  # noqa: E402


def main() -> int:
    """Run every check, also after one has failed; 0 only if all passed."""
    print("make lint")
    steps = Steps("lint")
    failures = []
    try:
        require_python()
        stop_on_signals()
        debian.require_cargo()
        debian.require(steps, [*debian.for_compiling(), *debian.for_virtual_environments()])
        python = virtual_environment.prepare(steps, TARGET / "venv", ROOT / "tests" / "requirements.txt")
    except StepFailed as error:
        print(error)
        return 1
    ruff = [str(python), "-m", "ruff"]
    cache = ["--cache-dir", str(TARGET / "ruff-cache")]
    mypy = [
        str(python),
        "-m",
        "mypy",
        "--config-file",
        "python/pyproject.toml",
        "--cache-dir",
        str(TARGET / "mypy-cache"),
    ]
    checks = {
        "cargo fmt": ["cargo", "fmt", "--all", "--check"],
        "cargo clippy": [
            "cargo",
            "clippy",
            "--workspace",
            "--all-targets",
            "--test",
            "round_trip",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
        "cargo doc": ["cargo", "doc", "--workspace", "--no-deps", "--document-private-items", "--locked"],
        "ruff check": [*ruff, "check", *cache, "python", "tests", "packaging", "benches"],
        "ruff format": [*ruff, "format", "--check", *cache, "python", "tests", "packaging", "benches"],
        "mypy": [*mypy, "python/dray"],
    }
    for title, command in checks.items():
        try:
            steps.run(title, command)
        except StepFailed as error:
            failures.append(str(error))
    for failure in failures:
        print(failure)
    print("all well" if not failures else f"{len(failures)} of {len(checks)} checks found fault")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
