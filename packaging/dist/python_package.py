"""Makes the wheel: the package `dray` for `import dray`, and the command `dray`, which is the distributed executable.

The command brings its own payload, appended as on a node: where pip has put the package is then nothing that it has to
find out, and a script runs on a laptop by the same files as on the node.

Run by `make dist`, by the interpreter that has the requirements. Arguments: the executable, the native module, the
licences, a folder to work in, the folder for the wheel.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import payload  # noqa: E402
from pyproject_metadata import StandardMetadata  # noqa: E402
from steps import ROOT  # noqa: E402

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# manylinux2014 is glibc 2.17 (PEP 599); cp39-abi3 is every CPython from 3.9 on (PEP 384).
TAGS = ["cp39-abi3-manylinux2014_x86_64", "cp39-abi3-manylinux_2_17_x86_64"]


def main() -> int:
    """Lay out the wheel's content below the working folder, and pack it."""
    executable, native_module, licences, work, into = (Path(argument) for argument in sys.argv[1:])
    shutil.rmtree(work, ignore_errors=True)
    project, root = work / "project", work / "root"
    project.mkdir(parents=True)
    for path in [ROOT / "python/pyproject.toml", ROOT / "README.md", *ROOT.glob("LICENSE-*"), licences]:
        shutil.copyfile(path, project / path.name)
    document = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    document["project"]["readme"] = "README.md"
    document["project"]["license-files"] = sorted(path.name for path in project.glob("LICENSE*"))
    metadata = StandardMetadata.from_pyproject(document, project, metadata_version="2.4")
    stem = f"{metadata.canonical_name}-{metadata.version}"
    content = {f"{stem}.dist-info/licenses/{name}": project / name for name in document["project"]["license-files"]}
    content.update(payload.package_files(native_module))
    content[f"{stem}.data/scripts/dray"] = executable
    for name, path in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / name)
    (root / f"{stem}.dist-info/METADATA").write_bytes(bytes(metadata.as_rfc822()))
    head = "Wheel-Version: 1.0\nGenerator: dray\nRoot-Is-Purelib: false\n"
    tags = "".join(f"Tag: {tag}\n" for tag in TAGS)
    (root / f"{stem}.dist-info/WHEEL").write_text(head + tags, "utf-8")
    packing = [sys.executable, "-m", "wheel", "pack", str(root), "--dest-dir", str(into)]
    return subprocess.run(packing, cwd=work, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
