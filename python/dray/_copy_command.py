"""The worker's part of `dray copy`: reads the plan, copies, and says what came of it.

A built-in entrypoint; its only argument is a JSON object with `source` (where the plan is, for the native module),
`dry_run`, `json` and `bars`.
"""

import sys

# The current folder is nobody's project: a `json.py` in it is not to be taken for Python's. It stays on the path for
# the drivers that may lie in it.
if not getattr(sys.flags, "safe_path", False):
    sys.path.append(sys.path.pop(0))

import json
from dataclasses import asdict
from typing import Any

from . import _native, _run
from ._command import fail, say
from ._copy import Copy, CopyReport, carry_out, native_arguments_of
from ._copy_plan import plan_copy
from ._errors import CopyError, Error
from ._outputs import outputs


def main() -> None:
    """Does what the supervisor was asked for; ends the process with an error's exit code."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    try:
        plan = json.loads(_native.read_plan(_run.task_folder(), json.dumps(order["source"])))
        copies = [Copy(**copy) for copy in plan["copies"]]
        if order["dry_run"]:
            _plan(copies, plan["options"], order["json"])
        else:
            _copy(copies, plan["options"], order)
    except Error as error:
        fail(error.code, error.exit_code, str(error))
    except _native.HandoverError as error:
        # The supervisor has read the plan before: it has changed since.
        fail(error.args[0], 110, error.args[1])
    except ValueError as error:
        fail("plan.value", 110, str(error))


def _plan(copies: list[Copy], options: dict[str, Any], as_json: bool) -> None:
    plan = plan_copy(copies, **options)
    text = json.dumps(asdict(plan), ensure_ascii=False, indent=2) if as_json else str(plan)
    say(text)
    failed = [table.error for table in plan.tables if table.error is not None]
    if failed:
        others = f" (and {len(failed) - 1} more of {len(plan.tables)} tables)" if len(failed) > 1 else ""
        fail(failed[0]["code"], 1, f"cannot copy `{failed[0]['table']}`: {failed[0]['message']}{others}")


def _copy(copies: list[Copy], options: dict[str, Any], order: dict[str, Any]) -> None:
    try:
        report = carry_out(native_arguments_of(copies, **options), bars=order["bars"])
    except CopyError as error:
        if error.report is not None:
            _tell(error.report, order["json"])
        raise
    _tell(report, order["json"])


def _tell(report: CopyReport, as_json: bool) -> None:
    failed = [table.target for table in report.tables if table.error is not None]
    copied = len(report.tables) - len(failed)
    outputs.update(tables=copied, failed_tables=failed, rows=report.rows, bytes=report.bytes)
    if as_json:
        say(json.dumps(asdict(report), ensure_ascii=False, indent=2))
    else:
        of_tables = f"{copied} of {len(report.tables)} tables"
        say(f"{of_tables}, {report.rows:,} rows, {report.bytes:,} bytes in {report.duration_ms / 1000:.1f} s")


if __name__ == "__main__":
    main()
