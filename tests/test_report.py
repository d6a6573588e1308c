"""`dray report`: one page about a run, from the log that it left; looked at in a browser."""

from __future__ import annotations

import html.parser
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import browser
import pytest
from conftest import Dray, Script, Task
from databases import Databases


class Page(html.parser.HTMLParser):
    """What a page holds: its text, each element's name and attributes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, Optional[str]]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def bars(self, state: str) -> int:
        """How many tables of this state are drawn."""
        return sum(tag == "g" and attributes.get("class") == state for tag, attributes in self.elements)


@pytest.fixture
def log(databases: Databases, dray: Dray, task: Task) -> Path:
    """The log of a run of three tables, one of which fails; its name would be a tag in HTML."""
    source, target = databases("sqlite"), databases("sqlite")
    source.numbered("large", 20_000, "text ")
    source.fill("small", {"id": "INTEGER"}, [(1,)])
    source.fill("<b>bold</b>", {"id": "INTEGER"}, [("no number",)])
    target.fill("<b>bold</b>", {"id": "REAL"}, [(1.5,)])
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    (task.folder / "plan.toml").write_text('target = "Target"\n[[copy]]\nsource = "Source"\ntables = "*"\n', "utf-8")
    done = dray("copy", "plan.toml", cwd=task.folder, env=task.env)
    assert done.returncode == 1, done.stderr
    path = task.folder.parent / "stderr.txt"
    path.write_text(done.stderr, "utf-8")
    return path


def test_the_page_tells_what_became_of_each_table(log: Path, dray: Dray, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    done = dray("report", log, "-o", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    page = Page(path)
    assert (page.bars("copied"), page.bars("failed")) == (2, 1)
    for words in (
        "20,001",
        "exit code 1",
        "Slowest tables",
        "Failed tables",
        "<b>bold</b>",
        "cannot copy",
        "peak memory",
    ):
        assert words in page.text, words
    assert not [tag for tag, _ in page.elements if tag in ("b", "script", "img", "iframe", "object")]
    assert {attributes["href"] for tag, attributes in page.elements if "href" in attributes} == {"data:,"}
    assert dray("report", log).stdout == path.read_text("utf-8"), "without -o it goes to stdout"


def test_rejected_rows_are_counted_table_by_table(
    databases: Databases, script: Script, dray: Dray, tmp_path: Path
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.numbered("t", 3_000, "text ")
    target.execute("CREATE TABLE t (id INTEGER CHECK (id > 1234), square BIGINT, note TEXT)")
    code = "import dray\ndray.copy_table('Source', 'Target', 't', on_reject='file')"
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    log, path = tmp_path / "stderr.txt", tmp_path / "report.html"
    log.write_text(done.stderr, "utf-8")
    assert dray("report", log, "-o", path).returncode == 0
    text = Page(path).text
    assert "Rejected rows" in text
    assert "1,234" in text and "1,766" in text


def test_the_logs_of_several_tasks_become_one_page(log: Path, dray: Dray, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    lines = log.read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    other.write_text("".join(json.dumps({**record, "task_id": "another"}) + "\n" for record in records), "utf-8")
    path = tmp_path / "report.html"
    assert dray("report", log, other, "-o", path).returncode == 0
    page = Page(path)
    assert (page.bars("copied"), page.bars("failed")) == (4, 2)
    assert "0 another" in page.text


def test_a_run_that_was_killed_shows_what_it_was_at(
    databases: Databases, script: Script, dray: Dray, tmp_path: Path, logs: Callable[[str], list[dict[str, Any]]]
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute(
        "CREATE VIEW t AS SELECT i AS id, repeat('x', 40000) AS note FROM generate_series(1, 900) i, "
        "LATERAL (SELECT pg_sleep(0.01 + 0 * i)) AS s"
    )
    code = """
        import os, threading, dray
        threading.Timer(3, lambda: os.kill(os.getpid(), 9)).start()
        dray.copy_table("Source", "Target", "t", lanes="odbc")
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 137, done.stderr
    assert [record for record in logs(done.stderr) if record.get("event") == "copy.table_progress"]
    log, path = tmp_path / "stderr.txt", tmp_path / "report.html"
    log.write_text(done.stderr, "utf-8")
    assert dray("report", log, "-o", path).returncode == 0
    page = Page(path)
    assert page.bars("unfinished") == 1
    assert "killed" in page.text


@pytest.mark.parametrize(
    ("text", "words"), [("", "0 lines"), ("Traceback\n{}\n", "none of its 2 lines"), (None, "No such file")]
)
def test_what_is_no_log_is_refused(dray: Dray, tmp_path: Path, text: Optional[str], words: str) -> None:
    log, path = tmp_path / "stderr.txt", tmp_path / "report.html"
    if text is not None:
        log.write_text(text, "utf-8")
    done = dray("report", log, "-o", path)
    assert done.returncode == 110
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not path.exists()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    """A tab of a real browser."""
    executable = browser.find()
    if executable is None:
        pytest.skip(f"none of {', '.join(browser.NAMES)} is on PATH")
    with browser.Browser(executable, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def test_a_browser_shows_the_page_light_and_dark_and_asks_for_nothing(
    log: Path, dray: Dray, tmp_path: Path, tab: browser.Browser
) -> None:
    path = tmp_path / "report.html"
    assert dray("report", log, "-o", path).returncode == 0
    papers = {}
    for scheme in ("light", "dark"):
        tab.open(path, scheme)
        assert tab.requests() in ([path.as_uri()], [path.as_uri(), "data:,"])
        assert tab.complaints() == []
        red, green, blue = tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        papers[scheme] = red + green + blue
        # Drawn, each within its picture, and no wider than the window.
        sizes = tab.evaluate("[...document.querySelectorAll('svg g rect')].map(r => r.getBoundingClientRect().width)")
        assert len(sizes) == 3 and all(width > 0 for width in sizes)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.evaluate("[...document.querySelectorAll('polyline')].every(l => l.getTotalLength() > 100)")
        picture = tmp_path / f"{scheme}.png"
        tab.screenshot(picture)
        assert picture.stat().st_size > 10_000
    assert papers["light"] > 600 > 200 > papers["dark"]
