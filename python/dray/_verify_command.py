"""The worker's part of `dray verify`: reads the plan, compares, and says what came of it.

A built-in entrypoint; its only argument is a JSON object with `source` (where the plan is, for the native module) and
`json`.
"""

import sys

# As in `_copy_command`: the current folder is nobody's project.
if not getattr(sys.flags, "safe_path", False):
    sys.path.append(sys.path.pop(0))

import json
from dataclasses import asdict
from typing import Any

from . import _native, _run
from ._command import fail, say
from ._copy import Copy
from ._errors import Error
from ._outputs import outputs
from ._verify import Comparison, verify_tables


def main() -> None:
    """Does what the supervisor was asked for; ends the process with an error's exit code, or 1 if tables differ."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    try:
        plan = json.loads(_native.read_plan(_run.task_folder(), json.dumps(order["source"])))
        copies = [Copy(**copy) for copy in plan["copies"]]
        comparison = verify_tables(copies, **plan["options"])
    except Error as error:
        fail(error.code, error.exit_code, str(error))
    except _native.HandoverError as error:
        # The supervisor has read the plan before: it has changed since.
        fail(error.args[0], 110, error.args[1])
    except ValueError as error:
        fail("plan.value", 110, str(error))
    _tell(comparison, order["json"])


def _tell(comparison: Comparison, as_json: bool) -> None:
    different = [table for table in comparison.tables if not table.equal]
    outputs.update(
        tables=len(comparison.tables),
        equal=comparison.equal,
        different_tables=[table.target for table in different],
    )
    say(json.dumps(asdict(comparison), ensure_ascii=False, indent=2) if as_json else str(comparison))
    if not comparison.equal:
        failed = [table for table in different if table.error is not None]
        names = ", ".join(f"`{table.target}`" for table in different[:3]) + (", …" if len(different) > 3 else "")
        if failed and failed[0].error is not None:
            fail(failed[0].error["code"], 1, f"cannot compare `{failed[0].table}`: {failed[0].error['message']}")
        fail("verify.different", 1, f"{len(different)} of {len(comparison.tables)} tables differ: {names}")


if __name__ == "__main__":
    main()
