"""Start-up beside what it replaces: `dray run` against `bash -c "unzip && python3"`, on the same zips, in one run.

    python3 benches/start_up.py [--rounds 15] [--python /usr/bin/python3] [--executable target/release/dray]

Four projects: one line; a script of ordinary length (`trace.py` of the standard library, 700 lines, asked for its
version); one of about 100 MB with packages vendored by pip (numpy, pandas, pyarrow), whose script imports numpy; and
the same packed by `dray pack`: of that, the first task on a node, a later one, and `python3` on the unpacked folder,
where it starts with everything compiled. The commands run in turn in a fresh folder each round, so that a machine that
slows down slows all; the medians to the first line that the script prints and to the end, and their ratio to bash, are
printed. Folders are kept until the end: a file system that has just freed what is asked for again would favour whoever
comes second. Where it lies on a disk, TMPDIR=/dev/shm leaves that out. Needs unzip and, for the two large projects,
pip. For one CPU: `taskset -c 0 python3 benches/start_up.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["numpy", "pandas", "pyarrow"]
SMALL = "print('done')\n"
LARGE = "import numpy\nprint(numpy.arange(3).sum())\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--executable", type=Path, default=ROOT / "target" / "release" / "dray")
    parser.add_argument("--small-only", action="store_true", help="leave the project of 100 MB out")
    arguments = parser.parse_args()
    arguments.executable = arguments.executable.resolve()
    if not arguments.executable.is_file():
        print(f"{arguments.executable} is not there: run `make build`")
        return 1
    with tempfile.TemporaryDirectory(prefix="dray-bench-") as folder:
        work = Path(folder)
        say_versions(arguments)
        small = work / "small.zip"
        with zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("main.py", SMALL)
        compare("one line", small, arguments, work)
        ordinary = work / "ordinary.zip"
        with zipfile.ZipFile(ordinary, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(standard_module(arguments.python, "trace"), "main.py")
        compare("700 lines", ordinary, arguments, work, ["--version"])
        if not arguments.small_only:
            compare("100 MB", vendored(work, arguments.python), arguments, work)
            compare("100 MB packed", packed(work, arguments), arguments, work, is_packed=True)
    return 0


def say_versions(arguments: argparse.Namespace) -> None:
    first_lines = [
        subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()[0]
        for command in (
            [arguments.executable, "--version"],
            ["bash", "--version"],
            ["unzip", "-v"],
            [arguments.python, "--version"],
        )
    ]
    print(f"{os.cpu_count()} CPUs, {platform.platform()}; " + "; ".join(first_lines))


def standard_module(python: str, name: str) -> str:
    """The file of a module of the standard library."""
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}).origin)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def vendored(work: Path, python: str) -> Path:
    """A zip of the packages and a script, as people vendor them: installed into the project's own folder."""
    tree = work / "tree"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", tree, "--only-binary", ":all:",
         "--python-version", version_of(python), *PACKAGES],
        check=True,
    )  # fmt: skip
    (tree / "main.py").write_text(LARGE)
    return Path(shutil.make_archive(str(work / "large"), "zip", tree))


def version_of(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def packed(work: Path, arguments: argparse.Namespace) -> Path:
    """The same packages and script, packed by `dray pack` for this machine."""
    tree = work / "packed"
    tree.mkdir()
    (tree / "main.py").write_text(LARGE)
    (tree / "requirements.txt").write_text("\n".join(PACKAGES) + "\n")
    glibc = platform.libc_ver()[1].replace(".", "_")
    target = ["--python", version_of(arguments.python), "--platform", f"manylinux_{glibc}_x86_64"]
    command = [arguments.executable, "pack", tree, "-o", work / "packed.zip", *target]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")
    return work / "packed.zip"


def compare(
    name: str,
    project: Path,
    arguments: argparse.Namespace,
    work: Path,
    script_arguments: Sequence[str] = (),
    *,
    is_packed: bool = False,
) -> None:
    directory = os.path.dirname(arguments.python)
    # A home of its own, so that what dray remembers of the interpreter is there from the second run on, as on a node.
    environment = {"PATH": f"{directory}:/usr/bin:/bin", "HOME": str(work), "LC_ALL": "C.UTF-8"}
    script = ["main.py", *script_arguments]
    run = [str(arguments.executable), "run", "--python", arguments.python, project.name, *script]
    commands = {
        "bash": ["/bin/bash", "-c", f"unzip -q {project.name} && {arguments.python} {' '.join(script)}"],
        "dray": run,
    }
    in_place = work / f"{name}-in-place"
    if is_packed:
        environment["PYTHONPATH"] = ".python_packages/lib/site-packages"
        commands["dray, first task"] = run
        commands["python3 in place"] = [arguments.python, *script]
        subprocess.run(["unzip", "-q", project, "-d", in_place], check=True)
    kept = work / ".cache" / "dray" / "dependencies"
    times: dict[str, list[tuple[float, float]]] = {label: [] for label in commands}
    for number in range(-1, arguments.rounds):
        for label, command in commands.items():
            folder = work / f"{name}-{label}-{number}"
            folder.mkdir()
            os.link(project, folder / project.name)
            is_first = label == "dray, first task"
            if is_first and kept.is_dir():
                kept.rename(kept.with_name("later"))
            where = in_place if command[0] == arguments.python else folder
            took = run_once(label, command, where, environment)
            if is_first and kept.with_name("later").is_dir():
                kept.rename(folder / "kept")
                kept.with_name("later").rename(kept)
            if number >= 0:  # the first round warms the caches of all
                times[label].append(took)
    size = project.stat().st_size / 1e6
    medians = {
        label: [statistics.median(values) * 1000 for values in zip(*measured)] for label, measured in times.items()
    }
    print(f"{name} ({size:.1f} MB zip), median of {arguments.rounds}, to the first line and to the end:")
    for label, (first, end) in medians.items():
        ratios = f"{first / medians['bash'][0]:.2f} and {end / medians['bash'][1]:.2f}"
        print(f"  {label:<17} {first:8.1f} ms {end:8.1f} ms, ratios {ratios}")


def run_once(label: str, command: list[str], where: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds until the command has printed something, and until it has ended."""
    with (where / "stderr.txt").open("w+b") as stderr:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=where, env=environment, stdout=subprocess.PIPE, stderr=stderr)
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 1)
        first = time.perf_counter() - begun
        process.stdout.read()
        process.wait()
        end = time.perf_counter() - begun
        if process.returncode != 0:
            stderr.seek(0)
            raise SystemExit(f"{label} failed: {stderr.read().decode(errors='replace')}")
    return first, end


if __name__ == "__main__":
    sys.exit(main())
