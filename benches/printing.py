"""What masking costs a script that prints much: the same script with and without `--no-mask`, in turn.

`python3 benches/printing.py [--megabytes 1000] [--rounds 3] [--what blocks]`; the executable is DRAY_EXECUTABLE, else
the release build. The activity has three secrets. Prints the median of the wall times and the share that masking adds,
for lines that `print` writes and for blocks of 64 KiB, to a file, to a pipe whose reader drops everything, and to
/dev/null.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SCRIPTS = {
    "lines": """
import sys
row = "2026-11-21 06:00:00 order 4711 of customer 0815 was copied with 12 positions and a total of 1234.56\\n"[:-1]
for _ in range(int(sys.argv[1]) * 1_000_000 // (len(row) + 1)):
    print(row)
""",
    "blocks": """
import os, sys
block = b"2026-11-21 06:00:00 order 4711 of customer 0815 was copied with 12 positions\\n" * 851
for _ in range(int(sys.argv[1]) * 1_000_000 // len(block)):
    os.write(1, block)
""",
}


def secure(value: str) -> dict[str, str]:
    """A SecureString as ADF writes it."""
    return {"type": "SecureString", "value": value}


def run_s(command: list[str], folder: Path, target: str) -> float:
    """Seconds of one run that prints to `target`."""
    environment = {**os.environ, "DRAY_LOG_LEVEL": "error"}
    begun = time.monotonic()
    if target == "pipe":
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
            assert reader.stdin is not None
            subprocess.run(command, cwd=folder, stdout=reader.stdin, env=environment, check=True)
            reader.stdin.close()
            reader.wait()
    else:
        path = folder / "stdout.txt" if target == "file" else Path(os.devnull)
        with path.open("wb") as out:
            subprocess.run(command, cwd=folder, stdout=out, env=environment, check=True)
    took = time.monotonic() - begun
    (folder / "stdout.txt").unlink(missing_ok=True)
    return took


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--what", choices=SCRIPTS, help="one of them alone")
    given = parser.parse_args()
    executable = os.environ.get("DRAY_EXECUTABLE") or str(ROOT / "target" / "release" / "dray")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        secrets = {"a": secure("correct horse battery staple"), "b": secure("p4ssw/rd+%!"), "c": secure("x" * 12 + "Q")}
        activity = {"typeProperties": {"extendedProperties": secrets}}
        (folder / "activity.json").write_text(json.dumps(activity))
        print(f"{'what':<8}{'to':<11}{'plain s':>9}{'masked s':>10}{'more':>8}")
        for what, code in SCRIPTS.items():
            if given.what not in (None, what):
                continue
            project = folder / what
            project.mkdir()
            (project / "main.py").write_text(code)
            for target in ("file", "pipe", "/dev/null"):
                times: dict[bool, list[float]] = {True: [], False: []}
                for _ in range(given.rounds):
                    for masked in (False, True):
                        option = [] if masked else ["--no-mask"]
                        command = [executable, "run", *option, str(project), "main.py", str(given.megabytes)]
                        times[masked].append(run_s(command, folder, target))
                plain, masked_s = (statistics.median(times[masked]) for masked in (False, True))
                print(f"{what:<8}{target:<11}{plain:>9.2f}{masked_s:>10.2f}{masked_s / plain - 1:>8.0%}", flush=True)


if __name__ == "__main__":
    main()
