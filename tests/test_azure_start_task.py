"""The start task of packaging/azure/: what it asks of the node. The node's own commands are stand-ins here that write down
how they were called: the real ones would change this machine, and Microsoft's repository is not to be had everywhere.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure_templates import FOLDER

SCRIPT = FOLDER / "install-odbc-driver.sh"
DRIVER = "msodbcsql18"


@dataclass
class Node:
    """A node of the pool: a folder with its commands, and what was called."""

    folder: Path

    def command(self, name: str, body: str = "") -> None:
        """A command of the node: notes its call, then does `body`."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> "{self.folder}/calls"\n{body}\n')
        path.chmod(0o755)

    def start(self) -> subprocess.CompletedProcess[str]:
        """Run the start task."""
        return subprocess.run(
            ["/bin/bash", SCRIPT],
            cwd=self.folder,
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin", "OS_RELEASE": str(self.folder / "os-release")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        """The commands that were called, in their order."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def installs(self) -> list[str]:
        """What apt-get was told to install."""
        return [call.split()[-1] for call in self.calls() if call.startswith("apt-get ") and " install " in call]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A fresh Ubuntu 24.04, without the driver."""
    made = Node(tmp_path)
    (tmp_path / "os-release").write_text('ID=ubuntu\nVERSION_ID="24.04"\n')
    made.command("dpkg-query", f'[[ -e "{tmp_path}/installed" ]] && printf installed || exit 1')
    made.command("apt-get", f'[[ "$*" == *{DRIVER} ]] && touch "{tmp_path}/installed"; exit 0')
    made.command("curl")
    made.command("sleep")
    return made


def test_shellcheck_finds_no_fault():
    shellcheck = Path(sys.executable).parent / "shellcheck"
    ran = subprocess.run([shellcheck, "--severity=style", SCRIPT], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_the_driver_and_microsofts_repository_are_all_that_is_installed(node):
    ran = node.start()
    assert ran.returncode == 0, ran.stderr
    assert [Path(name).name for name in node.installs()] == ["packages-microsoft-prod.deb", DRIVER]
    fetched = [call.split()[-1] for call in node.calls() if call.startswith("curl ")]
    assert fetched == ["https://packages.microsoft.com/config/ubuntu/24.04/packages-microsoft-prod.deb"]
    for call in node.calls():
        if call.startswith("apt-get "):
            assert "DPkg::Lock::Timeout=" in call, "a fresh node's unattended-upgrades holds the lock"


def test_a_second_start_of_the_node_does_nothing(node):
    assert node.start().returncode == 0
    before = len(node.calls())
    ran = node.start()
    assert ran.returncode == 0 and "already" in ran.stdout
    assert [call.split()[0] for call in node.calls()[before:]] == ["dpkg-query"]


def test_a_start_that_was_cut_short_is_made_up_for(node):
    node.command("apt-get", f'[[ "$*" == *{DRIVER} ]] && exit 100; exit 0')
    assert node.start().returncode == 1
    node.command("apt-get", f'[[ "$*" == *{DRIVER} ]] && touch "{node.folder}/installed"; exit 0')
    assert node.start().returncode == 0


def test_a_failure_of_apt_that_passes_is_tried_again(node):
    node.command(
        "apt-get",
        f'if [[ ! -e "{node.folder}/failed" ]]; then touch "{node.folder}/failed"; exit 100; fi\n'
        f'[[ "$*" == *{DRIVER} ]] && touch "{node.folder}/installed"; exit 0',
    )
    ran = node.start()
    assert ran.returncode == 0, ran.stderr
    assert "at try 1 of 3" in ran.stdout


@pytest.mark.parametrize(
    ("command", "body", "said"),
    [
        ("curl", "exit 22", "cannot fetch https://packages.microsoft.com/config/ubuntu/24.04/"),
        ("apt-get", "exit 100", "cannot set up the repository"),
        ("apt-get", '[[ "$*" == *update ]] && exit 100; exit 0', "cannot read the package lists"),
        ("apt-get", f'[[ "$*" == *{DRIVER} ]] && exit 100; exit 0', f"cannot install {DRIVER}"),
        ("apt-get", "exit 0", f"yet {DRIVER} is not installed"),
    ],
)
def test_what_fails_is_said_and_fails_the_start_task(node, command, body, said):
    node.command(command, body)
    ran = node.start()
    assert ran.returncode == 1
    assert said in ran.stderr


@pytest.mark.parametrize(("release", "name"), [("ID=almalinux\nVERSION_ID=9\n", "almalinux"), ("", "unknown")])
def test_another_distribution_is_refused_before_anything_is_changed(node, release, name):
    (node.folder / "os-release").write_text(release)
    ran = node.start()
    assert ran.returncode == 1
    assert f"`{name}`" in ran.stderr
    assert [call.split()[0] for call in node.calls()] == ["dpkg-query"]
