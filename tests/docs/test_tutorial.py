"""The tutorial can be followed: its SQL, its settings and its commands, against a Postgres and a simulated shop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.cli.main import run
from reconciler.settings import load
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import World
from tests.docs.generated import ROOT, first_plan
from tests.servers import Server

pytestmark = pytest.mark.slow

TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
SHOP = {"ACME_US_CLIENT_ID": "an-id", "ACME_US_CLIENT_SECRET": "a-secret"}
CLERK_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)


def write_settings(folder: Path) -> tuple[Path, Path]:
    config, stores = folder / "config/reconciler.yaml", folder / "stores.yaml"
    config.parent.mkdir()
    for path, text in zip((config, stores), blocks("yaml"), strict=True):
        assert text.startswith(f"# {path.relative_to(folder)}\n")
        path.write_text(text)
    return config, stores


@pytest.fixture
def database(postgres: Server, postgres_database: Callable[..., str]) -> Iterator[str]:
    """What the SQL of the tutorial makes."""
    name = postgres_database()
    table, users, roles = blocks("sql")
    with postgres.connect(name) as connection:
        for statement in (table, roles.replace("on database postgres", f'on database "{name}"'), users):
            connection.execute(statement.encode())
    yield name
    with postgres.connect(name) as connection:
        for role in ("reconciler_reader", "reconciler_state"):
            connection.execute(f"drop owned by {role} cascade; drop role {role}".encode())


def test_its_commands_lead_to_an_empty_plan(
    tmp_path: Path,
    postgres: Server,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_settings(tmp_path)
    world = World()
    world.add_shop(
        "acme-us.myshopify.com", client_id=SHOP["ACME_US_CLIENT_ID"], client_secret=SHOP["ACME_US_CLIENT_SECRET"]
    )
    with SimulatorServer(world):
        environment = SHOP | {
            "ACME_US_URL": world.url("acme-us.myshopify.com"),
            "RECONCILER_PROFILES_URL": postgres.url(database, user="reconciler_reader"),
            "RECONCILER_STATE_URL": postgres.url(database, user="reconciler_state"),
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        def said(*arguments: str) -> str:
            assert run(list(arguments)) == 0, capsys.readouterr()
            return capsys.readouterr().out

        assert "clerk.user_id" in said("bootstrap", "--yes")
        assert re.search(r"all \d+ checks passed", said("doctor"))
        assert until_digest(said("plan")) == until_digest(first_plan().removeprefix("```text\n"))
        said("apply", "--yes")
        assert "\n0 actions, 1 hold, 2 in sync\n" in said("plan")
        assert "EmailUnverified 1" in said("status")
        assert "Lovelace" in said("explain", "ada@example.com")


def until_digest(plan: str) -> list[str]:
    """The words of a plan, whatever the width of the terminal."""
    return plan.partition("\ndigest ")[0].split()


def test_its_secrets_are_all_that_run_with_webhooks_needs(tmp_path: Path) -> None:
    named = dict(
        re.findall(r"^ *(\w+)='([^']*)'", "".join(re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL)), re.MULTILINE)
    )
    loaded = load(
        *write_settings(tmp_path), named | {"CLERK_WEBHOOK_SECRET": CLERK_SECRET, "CLERK_SECRET_KEY": "sk_test_x"}
    )
    server, clerk, (store,) = loaded.settings.server, loaded.settings.clerk, loaded.stores
    assert server.public_url == "https://parity.example.com"
    assert server.console_token
    assert clerk.webhook_secrets
    assert clerk.secret_key
    assert store.webhook_secret == store.auth.client_secret
    for key in ("server.public_url", "server.console_token", "clerk.webhook_secrets", "clerk.secret_key"):
        assert f"| `{key}` |" in TUTORIAL
