"""The GitHub Action: its steps are executed as a runner would, with the real command and a stand-in for GitHub's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.harness import CliHarness, cli_harness
from tests.docs.test_docs import text_of
from tests.shipping.validators import check_with
from tests.standards.tree import ROOT

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
PLAN, COMMENT, JUDGE = STEPS[2:]
GH = """#!{python}
import pathlib, sys
words, folder = sys.argv[1:], pathlib.Path("{folder}")
if "--jq" in words:
    mark = words[words.index("--jq") + 1].split('startswith("')[1].split('"')[0]
    print(*(path.name for path in sorted(folder.iterdir()) if path.read_text().startswith(mark)), sep="\\n")
else:
    (body,) = (word.removeprefix("body=@") for word in words if word.startswith("body=@"))
    address = words[words.index("--method") + 2]
    made = "8" if words[words.index("--method") + 1] == "POST" else address.rpartition("/")[2]
    (folder / made).write_text(pathlib.Path(body).read_text())
"""


@dataclass(slots=True)
class Job:
    """One job on a pull request: `inputs` as a workflow gives them; `comments` are those of the pull request."""

    ready: CliHarness
    folder: Path
    comments: Path
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    number: str = "12"

    def value(self, expression: str) -> str:
        """The value of an expression, without `${{` and `}}`."""
        place, _, name = expression.strip().partition(".")
        if place == "inputs":
            return self.inputs.get(name, str(ACTION["inputs"][name]["default"]))
        if place == "steps":
            return self.outputs.get(name.rpartition(".")[2], "")
        return {"token": "t", "event.pull_request.number": self.number, "repository": "acme/shops"}[name]

    def step(self, step: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Execute a step as GitHub's runner does."""
        (self.folder / "output").write_text("")
        variables = {
            name: re.sub(r"\$\{\{(.+?)\}\}", lambda found: self.value(found[1]), text)
            for name, text in step.get("env", {}).items()
        }
        runner = {
            "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}",  # noqa: TID251  a child's
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=self.ready.folder, env={**runner, **variables}, capture_output=True, text=True, check=False
        )
        self.outputs |= dict(line.split("=", 1) for line in (self.folder / "output").read_text().splitlines())
        return done

    def planned(self) -> dict[str, str]:
        """Plan and comment; gives the outputs without their paths."""
        assert (done := self.step(PLAN)).returncode == 0, done.stderr
        assert (done := self.step(COMMENT)).returncode == 0, done.stderr
        return {name: value for name, value in self.outputs.items() if not value.startswith("/")}


@pytest.fixture
def job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Job]:
    with cli_harness(tmp_path, capsys) as ready:
        ready.stores["acme-us"]["guards"] = {"update": {"max": 5}}  # no share of so few users
        assert ready("bootstrap", "--yes").code == 0
        folder = tmp_path / "runner"
        bin_ = folder / "customer-parity/bin"
        bin_.mkdir(parents=True)
        (bin_ / "reconciler").symlink_to(Path(sys.executable).parent / "reconciler")
        (comments := tmp_path / "comments").mkdir()
        (comments / "1").write_text("Looks good")
        (gh := folder / "gh").write_text(GH.format(python=sys.executable, folder=comments))
        gh.chmod(0o755)
        yield Job(ready, folder, comments, {"config": "reconciler.yaml", "stores": "stores.yaml", "store": "acme-us"})


def test_it_is_an_action() -> None:
    check_with("check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml")


def test_the_workflow_in_the_docs_is_a_workflow_and_gives_inputs_that_there_are(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n# .github/workflows/parity.yml\n(.*?)```", text_of("docs/deploy.md"), re.DOTALL)
    (workflow := tmp_path / "parity.yml").write_text(text)
    check_with("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow))
    (step,) = [step for step in yaml.safe_load(text)["jobs"]["plan"]["steps"] if "with" in step]
    assert set(step["with"]) <= set(ACTION["inputs"])


def test_no_input_becomes_a_part_of_a_script() -> None:
    assert [step["name"] for step in STEPS if "${{" in step.get("run", "")] == []


def test_each_input_and_output_is_documented() -> None:
    for part in ("inputs", "outputs"):
        for name, declared in ACTION[part].items():
            assert len(declared["description"]) > 20, name
            assert f"`{name}`" in text_of("docs/deploy.md"), name


def test_it_comments_the_plan_and_fails_on_drift(job: Job) -> None:
    assert job.planned() == {"changes": "true", "drift": "false", "failed": "false"}
    comment = (job.comments / "8").read_text()
    assert "## Customer parity: 2 actions" in comment
    assert "Drift" not in comment
    assert (job.folder / "summary.md").read_text() in comment
    assert job.step(JUDGE).returncode == 0
    assert job.ready("apply", job.outputs["plan-file"], "--yes").code == 0
    job.ready.shop().staff("edit", id=job.ready.customers()["bob@example.com"]["id"], first_name="Bert")
    assert job.planned() == {"changes": "true", "drift": "true", "failed": "false"}
    assert {path.name for path in job.comments.iterdir()} == {"1", "8"}
    assert "**Drift:**" in (job.comments / "8").read_text()
    assert (job.comments / "1").read_text() == "Looks good"
    assert job.step(JUDGE).returncode == 1


@pytest.mark.parametrize(
    ("fail_on", "outputs", "code"),
    [
        ("drift", {"changes": "true", "drift": "false", "failed": "false"}, 0),
        ("drift", {"changes": "true", "drift": "true", "failed": "false"}, 1),
        ("changes", {"changes": "true", "drift": "false", "failed": "false"}, 1),
        ("changes", {"changes": "false", "drift": "false", "failed": "false"}, 0),
        ("never", {"changes": "true", "drift": "true", "failed": "false"}, 0),
        ("never", {"changes": "false", "drift": "false", "failed": "true"}, 1),
        ("sometimes", {"changes": "false", "drift": "false", "failed": "false"}, 1),
    ],
)
def test_the_inputs_say_what_fails_the_job(tmp_path: Path, fail_on: str, outputs: dict[str, str], code: int) -> None:
    values = {f"steps.plan.outputs.{name}": value for name, value in outputs.items()} | {"inputs.fail-on": fail_on}
    environment = {name: values[text.strip("${} ")] for name, text in JUDGE["env"].items()}
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-e", "-c", JUDGE["run"]], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert done.returncode == code


def test_a_shop_that_cannot_be_read_fails_the_job_and_a_push_gets_no_comment(job: Job) -> None:
    job.ready.stores["acme-us"]["auth"] = {"access_token": "wrong"}
    assert job.ready("status").code == 0
    job.number = ""
    assert job.planned() == {"changes": "false", "drift": "false", "failed": "true"}
    assert {path.name for path in job.comments.iterdir()} == {"1"}
    assert job.step(JUDGE).returncode == 1
