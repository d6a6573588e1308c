"""The autoscale formulas of packaging/azure/pool.json: how many nodes they ask for, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from autoscale import SAMPLE_PERIOD, FormulaFault, evaluate
from azure_templates import Template

WEDNESDAY_NOON = datetime(2026, 11, 18, 12, 0, tzinfo=timezone.utc)
WEDNESDAY_NIGHT = datetime(2026, 11, 18, 23, 30, tzinfo=timezone.utc)
SATURDAY_NOON = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
SUNDAY_NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def formula(**parameters: Any) -> str:
    settings = (
        Template("pool.json")
        .deploy(name="sales", **parameters)
        .of_type("Microsoft.Batch/batchAccounts/pools")[0]["properties"]["scaleSettings"]
    )
    assert set(settings) == {"autoScale"}
    return str(settings["autoScale"]["formula"])


def samples(values: Sequence[float]) -> list[tuple[timedelta, float]]:
    """Samples without a gap, the newest first. It is a minute old: Batch needs that long to show it."""
    return [(timedelta(minutes=1) + SAMPLE_PERIOD * at, value) for at, value in enumerate(values)]


def nodes(
    pending: Sequence[tuple[timedelta, float]] = (), now: datetime = WEDNESDAY_NOON, **parameters: Any
) -> tuple[float, float]:
    """The target numbers of dedicated and of Spot nodes."""
    assigned = evaluate(formula(**parameters), now=now, pending=pending)
    assert assigned["$NodeDeallocationOption"] == "taskcompletion"
    return assigned["$TargetDedicatedNodes"], assigned["$TargetLowPriorityNodes"]


def test_a_new_pool_without_samples_has_no_node():
    assert nodes([]) == (0, 0)


def test_each_waiting_or_running_task_gets_a_node():
    assert nodes(samples([3] * 20)) == (3, 0)


def test_many_tasks_get_no_more_than_the_most_nodes_allowed():
    assert nodes(samples([250] * 20)) == (4, 0)
    assert nodes(samples([250] * 20), maxNodes=12) == (12, 0)


def test_a_task_that_just_came_is_seen_at_the_next_evaluation():
    assert nodes(samples([1] + [0] * 19)) == (1, 0)


def test_a_node_stays_for_ten_minutes_after_the_last_task():
    assert nodes(samples([0] * 15 + [1] * 40)) == (1, 0)
    assert nodes(samples([0] * 20 + [1] * 40)) == (0, 0)


def test_an_idle_pool_has_no_node_by_day_and_by_night():
    for now in (WEDNESDAY_NOON, WEDNESDAY_NIGHT, SUNDAY_NOON):
        assert nodes(samples([0] * 20), now) == (0, 0)


def test_with_too_few_samples_the_last_one_decides():
    assert nodes(samples([2, 7, 7])) == (2, 0)
    # The last one known may be old: Batch had trouble to take samples for an hour.
    assert nodes([(timedelta(hours=1), 2.0)]) == (2, 0)


def test_a_spot_pool_asks_for_spot_nodes_alone():
    assert nodes(samples([2] * 20), nodeKind="spot") == (0, 2)


def test_a_schedule_keeps_nodes_in_its_hours_of_working_days():
    scheduled: dict[str, Any] = {"scaling": "schedule", "warmNodes": 2, "warmFromHour": 6, "warmToHour": 18}
    expected = {5: 0, 6: 2, 12: 2, 17: 2, 18: 0, 23: 0}
    for hour, count in expected.items():
        assert nodes(samples([0] * 20), WEDNESDAY_NOON.replace(hour=hour), **scheduled) == (count, 0), hour
    assert nodes(samples([0] * 20), SATURDAY_NOON, **scheduled) == (0, 0)
    assert nodes(samples([0] * 20), SUNDAY_NOON, **scheduled) == (0, 0)


def test_a_schedule_may_count_weekends_in():
    for now in (WEDNESDAY_NOON, SATURDAY_NOON, SUNDAY_NOON):
        assert nodes(samples([0] * 20), now, scaling="schedule", warmOnWeekends=True) == (1, 0)


def test_a_schedule_may_go_over_midnight():
    scheduled: dict[str, Any] = {"scaling": "schedule", "warmFromHour": 22, "warmToHour": 5}
    for hour, count in {21: 0, 22: 1, 23: 1, 0: 1, 4: 1, 5: 0, 12: 0}.items():
        assert nodes(samples([0] * 20), WEDNESDAY_NOON.replace(hour=hour), **scheduled) == (count, 0), hour


def test_tasks_outside_the_hours_of_a_schedule_get_their_nodes_too():
    assert nodes(samples([3] * 20), WEDNESDAY_NIGHT, scaling="schedule") == (3, 0)


def test_a_schedule_warms_a_pool_that_has_no_samples_yet():
    assert nodes([], WEDNESDAY_NOON, scaling="schedule") == (1, 0)
    assert nodes([], WEDNESDAY_NIGHT, scaling="schedule") == (0, 0)


def test_nodes_of_a_schedule_are_within_the_most_nodes_allowed():
    assert nodes(samples([0] * 20), scaling="schedule", warmNodes=9, maxNodes=3) == (3, 0)


def test_a_pool_that_the_pipeline_resizes_has_no_formula_and_no_node():
    deployed = Template("pool.json").deploy(name="sales", scaling="pipeline")
    scale = deployed.of_type("Microsoft.Batch/batchAccounts/pools")[0]["properties"]["scaleSettings"]
    assert set(scale) == {"fixedScale"}
    assert (scale["fixedScale"]["targetDedicatedNodes"], scale["fixedScale"]["targetLowPriorityNodes"]) == (0, 0)
    assert deployed.outputs["formula"] == ""


@pytest.mark.parametrize(
    "broken",
    [
        "$TargetDedicatedNodes = min(4, $PendingTask.GetSample(1));",
        "$PendingTasks = 1;",
        "$TargetDedicatedNodes = max($PendingTasks.GetSample(1));",
        "$TargetDedicatedNodes = $PendingTasks.GetSample(1);",
        "$TargetDedicatedNodes = (1;",
        "$TargetDedicatedNodes = 1",
        "$NodeDeallocationOption = never;",
        "a = time() ? 1 : 0;",
        "a = 1;" * 101,
        "a = 1; " + " " * 8192,
    ],
)
def test_the_evaluator_refuses_what_batch_would_refuse(broken):
    with pytest.raises(FormulaFault):
        evaluate(broken, now=WEDNESDAY_NOON, pending=[])
