"""What the run that a copy belongs to is known by when it is run again.

An ADF retry of an activity is a new Batch task with new ids; a Batch task that is started again, because its node went
away, keeps them.
"""

from __future__ import annotations

import os

from ._errors import ActivityError


def of_call(given: str | None) -> tuple[str, str, str] | None:
    """The run's id, where it comes from (``given``, ``property`` or ``batch``) and the activity's name, if any.

    Args:
        given: What the call itself says; an empty text for none.
    """
    if given is not None:
        return (given, "given", _activity()) if given else None
    of_run = os.environ.get("DRAY_RUN_ID")
    if of_run:
        return of_run, "given", _activity()
    of_activity = _property()
    if of_activity:
        return of_activity, "property", _activity()
    job, task = os.environ.get("AZ_BATCH_JOB_ID"), os.environ.get("AZ_BATCH_TASK_ID")
    return (f"{job}/{task}", "batch", _activity()) if job and task else None


def _property() -> str | None:
    """The extended property ``run_id``, if it is a text or a number."""
    from . import _handover

    try:
        value = _handover.parameters().get("run_id")
    except ActivityError:
        return None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _activity() -> str:
    """The activity's name; empty outside of one."""
    from . import _handover

    try:
        return _handover.activity().name or ""
    except ActivityError:
        return ""
