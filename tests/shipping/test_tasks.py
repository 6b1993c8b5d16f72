"""The pages about backups, restores and upgrades can be followed: after their commands, the plan is empty."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from alembic.script import ScriptDirectory

from reconciler.state.database.engine import open_engine
from reconciler.state.database.version import MIGRATIONS
from tests import servers
from tests.cli.harness import CliHarness, cli_harness
from tests.docs.test_docs import text_of
from tests.shipping.validators import program
from tests.state.test_schema import migrate_to

BACK_UP, RESTORE, UPGRADE = (
    text_of(f"docs/tasks/{name}.md") for name in ("back-up-a-state", "restore-a-state", "upgrade")
)


def blocks(page: str, *words: str) -> list[str]:
    """The commands of a page that contain one of the words, in order."""
    found = [dedent(block) for block in re.findall(r"^ *```sh\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)]
    return [block for block in found if any(word in block for word in words)]


@dataclass(slots=True)
class Operator:
    """Someone in the folder of an installation, who follows a page."""

    ready: CliHarness
    state: str

    def follow(self, *scripts: str) -> str:
        """Execute the commands in a shell; gives what they print."""
        assert scripts
        folders = [str(Path(sys.executable).parent), str(servers.postgres_programs() or ""), os.defpath]
        environment = {
            "PATH": os.pathsep.join(folders),
            "RECONCILER_STATE_URL": self.state,
            "RECONCILER_CONFIG": "reconciler.yaml",
            "RECONCILER_STORES": "stores.yaml",
        }
        done = subprocess.run(
            ["sh", "-e"], input="\n".join(scripts), cwd=self.ready.folder, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def plan_is_empty(self) -> bool:
        return bool(re.search(r"^0 actions, ", self.ready("plan").out, re.MULTILINE))

    def customers_of_users(self) -> set[tuple[str, str]]:
        listed = self.ready("mappings", "list", "--output", "json").json
        return {(row["clerk_user_id"], row["shopify_customer_id"]) for row in listed if row["shopify_customer_id"]}


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[CliHarness]:
    """An installation with two shops, each with its customers made."""
    monkeypatch.chdir(tmp_path)
    with cli_harness(tmp_path, capsys) as ready:
        (tmp_path / "var").mkdir()
        ready.settings["state"] = {"url": f"sqlite:///{tmp_path / 'var/reconciler.db'}"}
        assert ready("bootstrap", "--yes").code == 0
        yield ready


@pytest.fixture(params=["sqlite", "postgres"])
def operator(
    request: pytest.FixtureRequest, folder: CliHarness, postgres: servers.Server, postgres_database: Callable[..., str]
) -> Operator:
    if request.param == "postgres":
        folder.settings["state"] = {"url": postgres.url(postgres_database(migrated=True))}
    else:
        program("sqlite3")
    assert folder("apply", "--yes").code == 0
    return Operator(folder, folder.settings["state"]["url"])


def test_a_lost_state_is_restored_from_its_backup(operator: Operator, postgres: servers.Server) -> None:
    sqlite = operator.state.startswith("sqlite")
    tools = ("sqlite3 ", "var/reconciler.db") if sqlite else ("pg_dump", "pg_restore")
    said = operator.follow(*blocks(BACK_UP, *tools))
    assert "ok" in said.splitlines() if sqlite else "reconciler_mapping" in said
    operator.ready.add(
        {"clerk_user_id": "user_eve", "email": "eve@example.com", "first_name": "Eve", "locale": "en-US"}
    )
    assert operator.ready("apply", "--yes").code == 0
    known = operator.customers_of_users()
    mutations = operator.ready.mutations

    lose(operator, postgres)
    operator.follow(*blocks(RESTORE, *tools), *blocks(RESTORE, "db upgrade"))
    assert operator.plan_is_empty(), "what happened since the backup is recognised"
    assert operator.customers_of_users() < known, "the mapping of the last user came after the backup"
    assert " create  email" in operator.ready("explain", "user_ada", "--all").out, "the history is there again"
    assert operator.ready("apply", "--yes").code == 0
    assert operator.customers_of_users() == known
    assert operator.ready.mutations == mutations, "no shop was written to"


def lose(operator: Operator, postgres: servers.Server) -> None:
    """The state disappears."""
    if operator.state.startswith("sqlite"):
        shutil.rmtree(operator.ready.folder / "var")
        (operator.ready.folder / "var").mkdir()
        return
    with postgres.connect(operator.state.rpartition("/")[2]) as connection:
        connection.execute("drop schema reconciler cascade")


def test_an_upgrade_leads_to_an_empty_plan(
    folder: CliHarness, postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    assert folder("apply", "--yes").code == 0
    url = postgres.url(postgres_database())
    engine = open_engine(url)
    before = ScriptDirectory(str(MIGRATIONS)).get_revision("head").down_revision
    assert isinstance(before, str)
    migrate_to(engine, before)
    engine.dispose()
    folder.settings["state"] = {"url": url}
    refused = folder("plan")
    assert refused.code == 1
    assert "hint: reconciler db upgrade" in refused.err
    upgrade, plan = blocks(UPGRADE, "reconciler")
    operator = Operator(folder, url)
    operator.follow(upgrade)
    assert re.search(r"^0 actions, ", operator.follow(plan), re.MULTILINE)
