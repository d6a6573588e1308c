"""`make dist`: what is given to users, in `dist/`: the executable with its payload, a wheel, a .deb, licences, a bill of
materials, checksums.

Both programs are linked by zig against glibc 2.17, so that they run on every node; that a build on this machine's own
libc would do no such thing is why there is no other way to `dist/`. `make dist UNIX_ODBC=FOLDER` links the crate
`unix-odbc` that is in FOLDER in place of the published one. With --unoptimized the same is built quickly, for the tests,
into target/dist-test/: too large to be given away. It has the profile of a plain build, whose build scripts and macros
cargo takes as they are. Standard library only, Python 3.9 and up.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import debian  # noqa: E402
import virtual_environment  # noqa: E402
from crates import TARGET_TRIPLE, cargo  # noqa: E402
from steps import ROOT, TARGET, StepFailed, Steps, relative, require_python, stop_on_signals  # noqa: E402

UNOPTIMIZED = sys.argv[1:] == ["--unoptimized"]
PROFILE = "dev" if UNOPTIMIZED else "dist"
DIST = TARGET / "dist-test" if UNOPTIMIZED else ROOT / "dist"
WORK = TARGET / "dist"
ZSTANDARD_LEVEL, XZ_LEVEL = ("1", "0") if UNOPTIMIZED else ("19", "6")
BUILT = TARGET / TARGET_TRIPLE / ("debug" if UNOPTIMIZED else PROFILE)
OLDEST_GLIBC = "2.17"
LARGEST_EXECUTABLE_BYTES = 8 * 1000 * 1000


def main() -> int:
    """Build everything; 0 only if all of it is there."""
    print("make dist")
    steps = Steps("dist")
    try:
        require_python()
        stop_on_signals()
        debian.require_cargo()
        debian.require(steps, ["dpkg", *debian.for_compiling(), *debian.for_virtual_environments()])
        version = agreed_version()
        python = virtual_environment.prepare(steps, WORK / "venv", HERE / "requirements.txt")
        # Times in archives are those of the sources, so that the same sources give the same files.
        os.environ["SOURCE_DATE_EPOCH"] = str(time_of_sources())
        build(steps, python)
        package(steps, python, version)
    except StepFailed as error:
        print(error)
        print(f"  logs: {relative(steps.logs)}/")
        return 1
    for path in sorted(DIST.iterdir()):
        print(f"{path.stat().st_size:>12,} bytes  {relative(path)}")
    return 0


def build(steps: Steps, python: Path) -> None:
    """The executable and the native module, in target/<triple>/<profile>/."""
    environment = dict(os.environ)
    # cargo finds its subcommand, and that finds zig, on PATH.
    environment["PATH"] = f"{python.parent}:{environment['PATH']}"
    steps.run("cargo fetch", ["cargo", "fetch", "--locked", "--target", TARGET_TRIPLE])
    # Panic messages name source files: without the folders of the machine that built them.
    home = Path(environment.get("CARGO_HOME") or Path.home() / ".cargo")
    registries = sorted((home / "registry" / "src").iterdir())
    renamed = [*((folder, "/registry") for folder in registries), (ROOT, "/dray")]
    flags = [f"--remap-path-prefix={folder}={name}" for folder, name in renamed]
    if UNOPTIMIZED:
        flags.append("-Cstrip=symbols")
    environment["RUSTFLAGS"] = " ".join(flags)
    command = ["cargo", "zigbuild", "--profile", PROFILE, "--locked"]
    own_unixodbc = environment.get("UNIX_ODBC")
    if own_unixodbc:
        # Unlike a patch, an override leaves Cargo.lock alone.
        command += ["--config", f"paths={json.dumps([str(Path(own_unixodbc).resolve())])}"]
    command += ["--target", f"{TARGET_TRIPLE}.{OLDEST_GLIBC}"]
    title = f"cargo zigbuild for glibc {OLDEST_GLIBC}"
    if UNOPTIMIZED:
        steps.run(title, [*command, "--workspace", "--lib", "--bins"], env=environment)
        return
    steps.run(f"{title}: native module", [*command, "-p", "dray-python"], env=environment)
    # The executable waits for its script most of the time, and nothing of it is compressed; the engine is in the module.
    small = ["--config", 'profile.dist.package.dray.opt-level="s"']
    steps.run(f"{title}: executable", [*command, "--bin", "dray", *small], env=environment)


def package(steps: Steps, python: Path, version: str) -> None:
    """All files of dist/, which then holds nothing else."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    executable, native_module = DIST / "dray", BUILT / "libdray_native.so"
    licences, bill = DIST / "LICENSES.txt", DIST / "dray.cdx.json"
    zig = python_output(python, "import ziglang, os; print(os.path.dirname(ziglang.__file__))")
    zig_version = python_output(python, "import importlib.metadata as m; print(m.version('ziglang'))")
    script = [str(python), "-B"]
    steps.run("licences", [*script, str(HERE / "licences.py"), str(licences), zig])
    steps.run("bill of materials", [*script, str(HERE / "sbom.py"), str(bill), zig_version])
    arguments = [BUILT / "dray", native_module, licences, executable, os.environ["SOURCE_DATE_EPOCH"], ZSTANDARD_LEVEL]
    steps.run("payload", [*script, str(HERE / "payload.py"), *map(str, arguments)])
    size_bytes = executable.stat().st_size
    if size_bytes >= LARGEST_EXECUTABLE_BYTES and not UNOPTIMIZED:
        raise StepFailed(f"dist/dray has {size_bytes} bytes; it is to stay below {LARGEST_EXECUTABLE_BYTES}")
    arguments = [executable, native_module, licences, WORK / "wheel", DIST]
    steps.run("wheel", [*script, str(HERE / "python_package.py"), *map(str, arguments)])
    arguments = [executable, licences, WORK / "deb", DIST / f"dray_{version}_amd64.deb", version, XZ_LEVEL]
    steps.run("deb", [*script, str(HERE / "debian_package.py"), *map(str, arguments)])
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(DIST.iterdir())}
    (DIST / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), "utf-8")


def agreed_version() -> str:
    """The version, which Cargo.toml, pyproject.toml and the package each name."""
    packages = json.loads(cargo("metadata", "--format-version", "1", "--no-deps"))["packages"]
    named = {f"crate {package['name']}": package["version"] for package in packages}
    for path, pattern in (
        ("python/pyproject.toml", r'^version = "(.+)"$'),
        ("python/dray/__init__.py", r'^__version__ = "(.+)"$'),
    ):
        found = re.search(pattern, (ROOT / path).read_text("utf-8"), re.MULTILINE)
        named[path] = found[1] if found else "none"
    if len(set(named.values())) != 1:
        raise StepFailed(f"the versions differ: {', '.join(f'{place} {version}' for place, version in named.items())}")
    return next(iter(named.values()))


def time_of_sources() -> int:
    """Seconds since 1970: SOURCE_DATE_EPOCH if it is set, else the last commit's time, else that of CHANGELOG.md."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    return int(shown.stdout) if shown.returncode == 0 else int((ROOT / "CHANGELOG.md").stat().st_mtime)


def python_output(python: Path, code: str) -> str:
    """What the interpreter prints."""
    return subprocess.run([python, "-c", code], stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
