"""Makes a virtual environment with pinned packages, and makes it again only when the pins or the interpreter change."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Optional

from steps import Steps


def prepare(steps: Steps, folder: Path, requirements: Optional[Path] = None) -> Path:
    """The interpreter of the virtual environment in `folder`, which then holds all that `requirements` names."""
    wanted = f"{sys.executable}\n{sys.version}\n"
    if requirements is not None:
        wanted += hashlib.sha256(requirements.read_bytes()).hexdigest() + "\n"
    stamp = folder / "made-from.txt"
    python = folder / "bin" / "python"
    if stamp.is_file() and python.exists() and stamp.read_text("utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    steps.run("virtual environment", [sys.executable, "-m", "venv", str(folder)])
    if requirements is not None:
        install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-r", str(requirements)]
        steps.run(f"pip install -r {requirements.name}", install)
    # Written last: an environment that was cut short in the making is made again.
    stamp.write_text(wanted, "utf-8")
    return python
