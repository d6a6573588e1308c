"""Writes the software bill of materials, as CycloneDX 1.6 in JSON: what is linked into dray, with versions, origins and
licences. The same sources give the same file.

Run by `make dist`, by the interpreter that has the requirements. Arguments: the file to write, the version of zig.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from crates import Crate, linked, unixodbc_version  # noqa: E402
from cyclonedx.factory.license import LicenseFactory  # noqa: E402
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri  # noqa: E402
from cyclonedx.model.bom import Bom  # noqa: E402
from cyclonedx.model.component import Component, ComponentType  # noqa: E402
from cyclonedx.output import make_outputter  # noqa: E402
from cyclonedx.schema import OutputFormat, SchemaVersion  # noqa: E402
from packageurl import PackageURL  # noqa: E402
from steps import StepFailed  # noqa: E402


def main() -> int:
    """Write the file."""
    into, zig = Path(sys.argv[1]), sys.argv[2]
    try:
        bom = document(linked(), zig)
    except StepFailed as error:
        print(error)
        return 1
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    into.write_text(text + "\n", "utf-8")
    return 0


def document(crates: list[Crate], zig: str) -> Bom:
    """The bill: dray itself, what it is made of, and what depends on what."""
    own = {crate.title: crate for crate in crates if crate.sha256 is None}
    components = {crate.title: of_crate(crate) for crate in crates if crate.title not in own}
    (odbc,) = (crate for crate in crates if crate.name == "unix-odbc")
    rust = subprocess.run(["rustc", "--version"], capture_output=True, encoding="utf-8", check=True).stdout.split()[1]
    brought = [
        library("unixODBC", unixodbc_version(crates), odbc.license),
        library("rust-std", rust, "MIT OR Apache-2.0"),
        library("zig-runtime", zig, "MIT AND Apache-2.0 WITH LLVM-exception"),
    ]
    whole = library("dray", own_version(own), "MIT OR Apache-2.0", ComponentType.APPLICATION)
    stamp = "\n".join([str(whole.purl), *(str(component.purl) for component in [*components.values(), *brought])])
    bom = Bom(
        components=[*components.values(), *brought],
        serial_number=uuid.UUID(hashlib.sha256(stamp.encode()).hexdigest()[:32], version=4),
    )
    bom.metadata.component = whole
    when = int(os.environ["SOURCE_DATE_EPOCH"])
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(when, datetime.timezone.utc)
    direct = {title for crate in own.values() for title in crate.dependencies if title not in own}
    bom.register_dependency(whole, [*(components[title] for title in sorted(direct)), *brought[1:]])
    for title, component in components.items():
        (crate,) = (crate for crate in crates if crate.title == title)
        bom.register_dependency(component, [components[other] for other in crate.dependencies])
    bom.register_dependency(components[odbc.title], [brought[0]])
    return bom


def of_crate(crate: Crate) -> Component:
    """A published crate."""
    reference = (
        [ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(crate.repository))] if crate.repository else []
    )
    return Component(
        name=crate.name,
        version=crate.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"pkg:cargo/{crate.name}@{crate.version}",
        purl=PackageURL("cargo", None, crate.name, crate.version),
        # Cargo once wrote `/` for OR, and some crates still do.
        licenses=[LicenseFactory().make_with_expression(crate.license.replace("/", " OR "))],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=crate.sha256)] if crate.sha256 else [],
        external_references=reference,
    )


def library(name: str, version: str, licence: str, kind: ComponentType = ComponentType.LIBRARY) -> Component:
    """What comes from no registry."""
    return Component(
        name=name,
        version=version,
        type=kind,
        bom_ref=f"pkg:generic/{name}@{version}",
        purl=PackageURL("generic", None, name, version),
        licenses=[LicenseFactory().make_with_expression(licence)],
    )


def own_version(own: dict[str, Crate]) -> str:
    """The version of dray; its crates share one."""
    (version,) = {crate.version for crate in own.values()}
    return version


if __name__ == "__main__":
    sys.exit(main())
