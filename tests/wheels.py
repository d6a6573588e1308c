"""Wheels and source distributions made for a test, and a folder of them that pip and uv take instead of an index."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Union


class Index:
    """A folder of distributions; `lines` is what requirements.txt begins with to use nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.lines = f"--no-index\n--find-links {folder}\n"

    def wheel(
        self,
        name: str,
        version: str = "1.0",
        files: Union[Mapping[str, Union[str, bytes]], None] = None,
        *,
        tag: str = "py3-none-any",
        requires: Iterable[str] = (),
        extras: Iterable[str] = (),
        metadata: Union[Mapping[str, str], None] = None,
    ) -> Path:
        """A wheel with `files` (default: one module with `VERSION`), as its build tool would write it."""
        folder = f"{name.replace('-', '_')}-{version}.dist-info"
        content: dict[str, Union[str, bytes]] = dict(
            files if files is not None else {f"{name.replace('-', '_')}.py": f"VERSION = {version!r}\n"}
        )
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        head += "".join(f"Provides-Extra: {extra}\n" for extra in extras)
        head += "".join(f"Requires-Dist: {line}\n" for line in requires)
        content[f"{folder}/METADATA"] = head
        content[f"{folder}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
        for path, text in (metadata or {}).items():
            content[f"{folder}/{path}"] = text
        record = ""
        path = self.folder / f"{name.replace('-', '_')}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, text in content.items():
                data = text.encode() if isinstance(text, str) else text
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                record += f"{member},sha256={digest},{len(data)}\n"
                archive.writestr(member, data)
            archive.writestr(f"{folder}/RECORD", record + f"{folder}/RECORD,,\n")
        return path

    def source(self, name: str, version: str = "1.0") -> Path:
        """A source distribution whose build would leave a trace, `built`, in this folder."""
        path = self.folder / f"{name}-{version}.tar.gz"
        setup = f"open({str(self.folder / 'built')!r}, 'w')\n"
        setup += f"from setuptools import setup\nsetup(name={name!r}, version={version!r})\n"
        with tarfile.open(path, "w:gz") as archive:
            for member, text in (
                ("setup.py", setup),
                ("PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
            ):
                info = tarfile.TarInfo(f"{name}-{version}/{member}")
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        return path
