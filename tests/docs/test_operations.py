"""What is shipped for operators can't lie either: manifests parse and hold to what the program does, metrics exist."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from reconciler.controller.scan.resync import CHANGES, FULL
from reconciler.core.model.reasons import WHO_ACTS
from reconciler.manager.intervals import Intervals
from reconciler.settings.models import Settings, StoresFile
from tests.docs.generated import ROOT
from tests.docs.telemetry import LogEvent, logged_events, names_in, registry_of_a_replica
from tests.docs.test_docs import text_of

MANIFESTS = "config/kubernetes/reconciler.yaml"
RULES = "config/prometheus/rules.yaml"
DASHBOARD = "config/grafana/dashboard.json"
METRIC = re.compile(r"\b(?:reconciler|controller_runtime|workqueue|parity)_\w+")
LABEL = re.compile(r'(\w+)=~?"([^"]*)"')


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """The names of all metrics that a replica shows."""
    return set(names_in(registry_of_a_replica()))


def manifests() -> list[dict[str, Any]]:
    return [part for part in yaml.safe_load_all(text_of(MANIFESTS)) if part]


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [part for part in manifests() if part["kind"] == kind]
    return found


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


def test_the_dashboard_has_panels_that_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(text_of(DASHBOARD))["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_deployment_is_probed_where_the_program_answers_and_killed_late_enough() -> None:
    deployment = manifest("Deployment")
    assert deployment["spec"]["replicas"] == 2
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["terminationGracePeriodSeconds"] > Intervals().grace_s


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_have_no_rights_that_they_do_not_need(kind: str) -> None:
    pod = manifest(kind)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    locked = container["securityContext"]
    assert locked["readOnlyRootFilesystem"] is True
    assert locked["allowPrivilegeEscalation"] is False
    assert locked["capabilities"] == {"drop": ["ALL"]}
    assert container["envFrom"] == [{"secretRef": {"name": manifest("Secret")["metadata"]["name"]}}]


def test_the_settings_in_the_manifest_are_settings_and_every_variable_is_in_the_secret() -> None:
    data, secret = manifest("ConfigMap")["data"], manifest("Secret")["stringData"]
    asked = set(re.findall(r"\$\{(\w+)", "".join(data.values())))
    assert asked <= set(secret)
    filled = {
        name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: SAMPLE.get(found[1], "word"), t) for name, t in data.items()
    }
    settings = Settings.model_validate(yaml.safe_load(filled["reconciler.yaml"]))
    assert (
        settings.server.port
        == manifest("Deployment")["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    )
    assert StoresFile.model_validate(yaml.safe_load(filled["stores.yaml"])).stores


SAMPLE = {
    "RECONCILER_STATE_URL": "postgresql://a@127.0.0.1/b",
    "RECONCILER_PROFILES_URL": "postgresql://a@127.0.0.1/b",
    "CLERK_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    "CLERK_SECRET_KEY": "sk_test_word",
}


def test_each_folder_for_operators_is_named_in_the_docs() -> None:
    for name, page in ((MANIFESTS, "deploy"), (RULES, "metrics"), (DASHBOARD, "metrics")):
        assert name in text_of(f"docs/{page}.md")
        assert (ROOT / name).is_file()
