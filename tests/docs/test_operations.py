"""What is shipped for monitoring can't lie either: the metrics, labels and log events that it names exist."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest
import yaml

from reconciler.controller.scan.standing import CHANGES, FULL
from reconciler.core.model.reasons import WHO_ACTS
from reconciler.core.model.rollout import Phase
from tests.docs.telemetry import LogEvent, logged_events, names_in, registry_of_a_replica
from tests.docs.test_docs import anchor, headings, text_of

RULES = "config/prometheus/rules.yaml"
RUNBOOKS = "https://github.com/YOUR-ORG/customer-parity/blob/main/docs/"
DASHBOARD = "config/grafana/dashboard.json"
METRIC = re.compile(r"\b(?:reconciler|controller_runtime|workqueue|parity)_\w+")
LABEL = re.compile(r'(\w+)=~?"([^"]*)"')


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """The names of all metrics that a replica shows."""
    return set(names_in(registry_of_a_replica()))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(text_of(RULES))["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    """All that is asked of Prometheus, in rules and on the dashboard."""
    panels = json.loads(text_of(DASHBOARD))["panels"]
    return [rule["expr"] for rule in rules()] + [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.parametrize("query", queries())
def test_every_metric_that_is_asked_for_is_exposed(query: str, exposed: set[str]) -> None:
    asked = set(METRIC.findall(query))
    assert asked
    assert asked <= exposed


def test_every_metric_is_on_the_dashboard_or_in_a_rule(exposed: set[str]) -> None:
    asked = {re.sub(r"_(bucket|count|sum)$", "", name) for query in queries() for name in METRIC.findall(query)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed}
    unasked = {"controller_runtime_max_concurrent_reconciles", "workqueue_longest_running_processor_seconds",
               "workqueue_work_duration_seconds"}  # fmt: skip
    assert families - asked == unasked


def test_every_log_event_is_documented_with_its_levels_and_fields() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([\w, ]+) \| ([\w`, ]*) \| .{20,} \|$", text_of("docs/log-events.md"), re.MULTILINE
    )
    documented = {
        event: LogEvent(set(levels.split(", ")), set(re.findall(r"\w+", fields))) for event, levels, fields in rows
    }
    assert len(rows) == len(documented)
    del documented["log_record_lost"]  # written without a logger, where logging itself fails
    assert documented == logged_events()


def test_rules_name_only_results_and_reasons_that_there_are() -> None:
    known = {
        "result": {"unauthentic", "not_an_event", "failed", "refused"},
        "reason": set(WHO_ACTS),
        "name": {"customer"},
        "kind": {FULL, CHANGES},
        "phase": set(get_args(Phase)),
    }
    for rule in rules():
        for label, values in LABEL.findall(rule["expr"]):
            assert set(values.split("|")) <= known[label], rule["alert"]


def test_every_rule_says_what_is_wrong() -> None:
    alerts = [rule["alert"] for rule in rules()]
    assert len(set(alerts)) == len(alerts) > 5
    for rule in rules():
        assert len(rule["annotations"]["summary"]) > 20
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_every_rule_leads_to_what_to_do() -> None:
    for rule in rules():
        assert len(rule["annotations"]["description"]) > 20, rule["alert"]
        page, _, part = rule["annotations"]["runbook_url"].removeprefix(RUNBOOKS).partition("#")
        assert part in {anchor(heading) for heading in headings(text_of(f"docs/{page}"))}, rule["alert"]


def test_the_dashboard_has_panels_that_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(text_of(DASHBOARD))["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
