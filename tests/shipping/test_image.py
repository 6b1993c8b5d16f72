"""The image and the local trial: checked by their own validators, and against what the program does."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from typing import Any

import pytest
import yaml

from reconciler.cli.main import COMMANDS
from reconciler.manager.intervals import Intervals
from reconciler.settings import load
from tests.shipping.dockerfile import Instruction, instructions
from tests.shipping.validators import check_with
from tests.standards.tree import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, from its FROM on."""
    found: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction.name == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def test_the_dockerfile_is_well_written() -> None:
    check_with("hadolint", "--failure-threshold", "info", "Dockerfile")


def test_the_image_runs_without_rights_and_is_probed_where_the_program_answers() -> None:
    last = {instruction.name: instruction.text for instruction in stages()[-1]}
    uid, _, gid = last["USER"].partition(":")
    assert int(uid) > 1000
    assert int(gid) > 1000
    assert "/healthz" in last["HEALTHCHECK"]
    assert last["ENTRYPOINT"] == '["reconciler"]'
    assert re.findall(r'"(\w+)"', last["CMD"])[0] in COMMANDS


def test_development_tools_do_not_reach_the_image() -> None:
    build, final = stages()
    copied = [instruction for instruction in final if instruction.name == "COPY"]
    assert [instruction.text for instruction in copied] == ["--from=build /opt/customer-parity /opt/customer-parity"]
    assert "requirements-dev" not in "".join(instruction.text for instruction in build)


def test_the_builder_gets_each_file_that_is_copied_and_no_secret() -> None:
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    ]
    for instruction in stages()[0]:
        if instruction.name == "COPY":
            for source in instruction.text.split()[:-1]:
                assert source in kept, source
                assert (ROOT / source).exists(), source
    assert not [name for name in (".env", "stores.yaml", ".git", ".venv", "var") if any(fnmatch(name, k) for k in kept)]


def test_the_trial_is_a_compose_file() -> None:
    check_with("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_the_trial_mounts_what_is_there_and_runs_commands_that_there_are() -> None:
    for name, service in COMPOSE["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).is_file(), f"{name}: {source}"
    assert COMPOSE["services"]["schema"]["command"] == ["db", "upgrade"]
    grace = COMPOSE["services"]["reconciler"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > Intervals().grace_s


def test_the_settings_of_the_trial_load_with_its_environment() -> None:
    environment: dict[str, Any] = COMPOSE["services"]["reconciler"]["environment"]
    filled = {name: re.sub(r"\$\{\w+:-(\w*)\}", r"\1", value) for name, value in environment.items()}
    loaded = load(ROOT / "config/reconciler.yaml", ROOT / "stores.yaml", filled)
    assert loaded.settings.profiles.table == "public.customers"
    assert loaded.settings.server.console_token is not None
    asked = set(re.findall(r"\$\{(\w+):?-?\}", (ROOT / "stores.yaml").read_text(encoding="utf-8")))
    assert {name for name in asked if not name.endswith("_URL")} <= set(environment)


@pytest.mark.parametrize("service", ["schema", "reconciler"])
def test_the_trial_needs_no_rights(service: str) -> None:
    found = COMPOSE["services"][service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
