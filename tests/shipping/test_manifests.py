"""What hosts and platforms read: checked by its own validator where one works offline, and against what the program does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from reconciler.manager.intervals import Intervals
from reconciler.settings.models import Settings, StoreSettings, StoresFile
from reconciler.shopify.webhooks import PRIVACY_TOPICS
from tests.docs.test_docs import text_of
from tests.shipping.validators import check_with, program
from tests.standards.tree import ROOT

KUBERNETES = ROOT / "config/kubernetes"
UNIT = ROOT / "config/systemd/customer-parity.service"
SAMPLE = {
    "RECONCILER_STATE_URL": "postgresql://a@127.0.0.1/b",
    "RECONCILER_PROFILES_URL": "postgresql://a@127.0.0.1/b",
    "CLERK_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    "CLERK_SECRET_KEY": "sk_test_word",
}
# Of the CustomResourceDefinition of monitoring.coreos.com/v1 (prometheus-operator 0.80): the keys that we use, and no other.
SERVICE_MONITOR = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "spec": {
            "type": "object",
            "required": ["selector", "endpoints"],
            "additionalProperties": False,
            "properties": {
                "selector": {"type": "object", "properties": {"matchLabels": {"type": "object"}}},
                "endpoints": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "port": {"type": "string"},
                            "path": {"type": "string"},
                            "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
                            "scrapeTimeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
                        },
                    },
                },
            },
        },
    },
}
# Of the reference of fly.toml, read 2026-11: the keys that we use, and no other.
FLY = {
    "type": "object",
    "required": ["app"],
    "additionalProperties": False,
    "properties": {
        "app": {"type": "string"},
        "primary_region": {"type": "string", "pattern": "^[a-z]{3}$"},
        "kill_signal": {"enum": ["SIGINT", "SIGTERM", "SIGQUIT"]},
        "kill_timeout": {"type": "string", "pattern": "^[0-9]+(s|m)$"},
        "build": {"type": "object", "propertyNames": {"enum": ["image", "dockerfile"]}},
        "deploy": {"type": "object", "propertyNames": {"enum": ["release_command", "strategy"]}},
        "processes": {"type": "object", "additionalProperties": {"type": "string"}},
        "files": {
            "type": "array",
            "items": {"type": "object", "required": ["guest_path"], "propertyNames": {"enum": ["guest_path", "local_path"]}},
        },
        "http_service": {
            "type": "object",
            "required": ["internal_port"],
            "propertyNames": {
                "enum": ["processes", "internal_port", "force_https", "auto_stop_machines", "auto_start_machines",
                         "min_machines_running", "checks"]
            },
            "properties": {
                "internal_port": {"type": "integer"},
                "auto_stop_machines": {"enum": ["off", "stop", "suspend"]},
                "checks": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "propertyNames": {"enum": ["method", "path", "interval", "timeout", "grace_period"]},
                    },
                },
            },
        },
        "vm": {"type": "array", "items": {"type": "object", "propertyNames": {"enum": ["size", "memory"]}}},
    },
}  # fmt: skip
# Of the reference of Railway's config as code, read 2026-11.
RAILWAY_DEPLOY = {"preDeployCommand", "startCommand", "healthcheckPath", "healthcheckTimeout", "restartPolicyType",
                  "restartPolicyMaxRetries", "overlapSeconds", "drainingSeconds"}  # fmt: skip


def kept(path: str) -> list[dict[str, Any]]:
    """The documents of a file of manifests."""
    return list(yaml.safe_load_all(text_of(f"config/kubernetes/{path}")))


def container(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod of a manifest, and its one container."""
    (found,) = kept(path)
    pod = found["spec"]["template"]["spec"]
    (inside,) = pod["containers"]
    return pod, inside


# --- Kubernetes -------------------------------------------------------------------------------------------------------


def test_what_kustomize_makes_is_valid_for_kubernetes(tmp_path: Path) -> None:
    made = tmp_path / "made.yaml"
    made.write_text(
        check_with("kubectl", "kustomize", str(KUBERNETES)) + "---\n" + text_of("config/kubernetes/secret.example.yaml")
    )
    said = check_with("kubernetes-validate", "--strict", str(made))
    documents = [document for document in yaml.safe_load_all(made.read_text()) if document]
    assert said.count(" passed for resource ") == len(documents)
    kinds = {document["kind"] for document in documents}
    assert kinds == {"Namespace", "Job", "ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "Ingress",
                     "NetworkPolicy", "Secret"}  # fmt: skip
    for document in documents:
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "customer-parity"
        for inside in (
            document["spec"]["template"]["spec"]["containers"] if document["kind"] in {"Job", "Deployment"} else ()
        ):
            assert inside["image"] == "registry.example.com/customer-parity:VERSION"
    made.write_text(made.read_text().replace("readinessProbe", "readyProbe"))
    with pytest.raises(AssertionError, match="readyProbe"):
        check_with("kubernetes-validate", "--strict", str(made))


def test_the_overlay_in_the_docs_replaces_settings_image_and_host(tmp_path: Path) -> None:
    (overlay,) = re.findall(
        r"```yaml\n# YOUR-OVERLAY/kustomization.yaml\n(.*?)```", text_of("docs/deploy.md"), re.DOTALL
    )
    if "Kustomize" not in check_with("kubectl", "version", "--client"):
        pytest.skip("this kubectl is older than 1.21, and its kustomize is too old for this overlay")
    shutil.copytree(KUBERNETES, tmp_path / "config/kubernetes")
    mine = tmp_path / "overlay"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(overlay)
    (mine / "reconciler.yaml").write_text("version: 1\n")
    (mine / "stores.yaml").write_text("version: 1\nstores: []\n")
    found = {d["kind"]: d for d in yaml.safe_load_all(check_with("kubectl", "kustomize", str(mine)))}
    assert found["ConfigMap"]["data"]["stores.yaml"] == "version: 1\nstores: []\n"
    (inside,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert inside["image"] == "YOUR-REGISTRY/customer-parity:1"
    host = found["Ingress"]["spec"]["rules"][0]["host"]
    assert host == found["Ingress"]["spec"]["tls"][0]["hosts"][0] == "parity.your-host.example"


def test_the_service_monitor_scrapes_the_service_of_the_console() -> None:
    (monitor,) = yaml.safe_load_all(check_with("kubectl", "kustomize", str(KUBERNETES / "monitoring")))
    jsonschema_rs.validator_for(SERVICE_MONITOR).validate(monitor)
    (service,) = [
        found
        for found in kept("services.yaml")
        if monitor["spec"]["selector"]["matchLabels"].items() <= found["metadata"]["labels"].items()
    ]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"


def test_the_deployment_is_probed_where_the_program_answers_and_killed_late_enough() -> None:
    pod, inside = container("deployment.yaml")
    assert inside["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert inside["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["terminationGracePeriodSeconds"] > Intervals().grace_s


@pytest.mark.parametrize("path", ["deployment.yaml", "schema-job.yaml"])
def test_pods_have_limits_and_no_rights_that_they_do_not_need(path: str) -> None:
    pod, inside = container(path)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    locked = inside["securityContext"]
    assert locked["readOnlyRootFilesystem"] is True
    assert locked["allowPrivilegeEscalation"] is False
    assert locked["capabilities"] == {"drop": ["ALL"]}
    assert set(inside["resources"]["limits"]) == {"cpu", "memory"}
    (secret,) = kept("secret.example.yaml")
    assert inside["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]


def test_the_settings_are_settings_and_every_variable_is_in_the_secret() -> None:
    (secret,) = kept("secret.example.yaml")
    data = {name: text_of(f"config/kubernetes/settings/{name}") for name in ("reconciler.yaml", "stores.yaml")}
    assert set(re.findall(r"\$\{(\w+)", "".join(data.values()))) <= set(secret["stringData"])
    filled = {
        name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: SAMPLE.get(found[1], "word"), t) for name, t in data.items()
    }
    settings = Settings.model_validate(yaml.safe_load(filled["reconciler.yaml"]))
    _, inside = container("deployment.yaml")
    assert settings.server.port == inside["ports"][0]["containerPort"]
    (policy,) = kept("network-policy.yaml")
    assert policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": settings.server.port}]
    assert StoresFile.model_validate(yaml.safe_load(filled["stores.yaml"])).stores
    (ingress,) = kept("ingress.yaml")
    assert settings.server.public_url == "https://" + ingress["spec"]["rules"][0]["host"]


def test_only_the_paths_of_webhooks_are_reached_from_outside() -> None:
    (ingress,) = kept("ingress.yaml")
    (rule,) = ingress["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == ["/webhooks/"]


# --- a host with systemd ----------------------------------------------------------------------------------------------


def verified(unit: Path) -> str:
    """What systemd complains about in a unit. It exits 0 where it ignores a key that it does not know."""
    command = [program("systemd-analyze"), "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_systemd_accepts_the_unit_and_finds_it_well_confined(tmp_path: Path) -> None:
    command = str(Path(sys.executable).parent / "reconciler")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/customer-parity/bin/reconciler", command))
    assert verified(unit) == ""
    check_with("systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit))
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nRestartPolicy=never"))
    assert "RestartPolicy" in verified(unit)


def test_the_unit_waits_for_requests_in_progress_and_no_check_keeps_it_from_starting() -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert float(re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[0]) > Intervals().grace_s
    assert not re.search(r"^ExecStartPre=", text, re.MULTILINE)


# --- platforms --------------------------------------------------------------------------------------------------------


def test_the_file_for_fly_has_known_keys_and_a_machine_that_stays() -> None:
    fly = tomllib.loads(text_of("config/fly/fly.toml"))
    jsonschema_rs.validator_for(FLY).validate(fly)
    assert fly["http_service"]["auto_stop_machines"] == "off"
    assert f"--port {fly['http_service']['internal_port']}" in fly["processes"]["app"]
    assert fly["deploy"]["release_command"] == "db upgrade"
    assert int(fly["kill_timeout"].removesuffix("s")) > Intervals().grace_s


def test_the_files_for_railway_have_known_keys_and_listen_where_it_asks() -> None:
    railway = json.loads(text_of("config/railway/railway.json"))
    assert set(railway) == {"$schema", "build", "deploy"}
    assert set(railway["deploy"]) <= RAILWAY_DEPLOY
    assert "$PORT" in railway["deploy"]["startCommand"]
    assert railway["deploy"]["healthcheckPath"] == "/healthz"
    assert railway["deploy"]["drainingSeconds"] > Intervals().grace_s
    check_with("hadolint", "--failure-threshold", "info", "config/railway/Dockerfile")


def test_the_app_of_shopify_has_the_scopes_and_the_webhooks_that_bootstrap_can_not_make() -> None:
    app = tomllib.loads(text_of("config/shopify/shopify.app.toml"))
    (subscription,) = app["webhooks"]["subscriptions"]
    assert set(subscription) == {"compliance_topics", "uri"}
    assert set(subscription["compliance_topics"]) == PRIVACY_TOPICS
    assert subscription["uri"] == "https://YOUR-HOST/webhooks/shopify"
    assert app["webhooks"]["api_version"] == StoreSettings.model_fields["api_version"].default
    assert set(app["access_scopes"]["scopes"].split(",")) == {"read_customers", "write_customers"}


# --- Prometheus -------------------------------------------------------------------------------------------------------


def test_prometheus_accepts_the_rules() -> None:
    assert "SUCCESS" in check_with("promtool", "check", "rules", "config/prometheus/rules.yaml")


def test_each_folder_for_operators_is_named_in_the_docs() -> None:
    pages = "".join(text_of(f"docs/{page}.md") for page in ("deploy", "metrics", "tasks/connect-clerk"))
    for folder in sorted(path for path in (ROOT / "config").iterdir() if path.is_dir()):
        assert folder.name in {"samples", "schema"} or f"config/{folder.name}" in pages, folder.name
