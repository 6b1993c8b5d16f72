"""Which module may know which, where import-linter can't say it."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from typing import Any, Protocol, get_args, get_type_hints

import pytest

from reconciler import ports
from reconciler.controller.readers import Readers
from reconciler.core.decide.leaving.absence import Absence
from tests.cli.harness import CliHarness
from tests.standards.tree import ROOT, imported, modules, project

READING_COMMANDS = ("plan", "drift", "status", "explain", "doctor")


def layers() -> list[set[str]]:
    contract = next(c for c in project()["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    assert contract["exhaustive"] is True
    return [{part.strip(" ()") for part in layer.split("|")} for layer in contract["layers"]]


def test_every_package_belongs_to_a_layer() -> None:
    packages = {name.split("/")[1].removesuffix(".py") for name in modules()} - {"__init__"}
    named = set().union(*layers())
    assert packages - named == set()


def test_the_simulator_knows_nothing_of_the_rest() -> None:
    own = {name: imported(tree) for name, tree in modules().items() if name.startswith("reconciler/simulator/")}
    strangers = {
        (name, target)
        for name, targets in own.items()
        for target in targets
        if target.startswith("reconciler") and not target.startswith("reconciler.simulator")
    }
    assert own
    assert strangers == set()


def test_only_the_settings_read_yaml() -> None:
    readers = {
        name.split("/")[1] for name, tree in modules().items() if any(t.split(".")[0] == "yaml" for t in imported(tree))
    }
    assert readers <= {"settings"}


def test_the_core_touches_nothing() -> None:
    outside = {"os", "io", "pathlib", "socket", "time", "random", "sqlite3", "httpx", "sqlmodel", "sqlalchemy", "subprocess",
               "threading", "logging", "structlog"}  # fmt: skip
    met = {
        (name, target)
        for name, tree in modules().items()
        if name.startswith("reconciler/core/")
        for target in imported(tree)
        if target.split(".")[0] in outside
    }
    assert met == set()


def _promises(protocol: type[Any]) -> set[str]:
    return {name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if not name.startswith("_")}


def _protocols() -> dict[str, type[Any]]:
    return {
        name: kind
        for name, kind in vars(ports).items()
        if inspect.isclass(kind) and Protocol in kind.__mro__ and kind.__module__.startswith(ports.__name__)
    }


def test_the_reading_half_gets_readers_only() -> None:
    hints = get_type_hints(Readers).values()
    parts = {part for hint in hints for part in (get_args(hint) or (hint,)) if part is not type(None)}
    kinds = {kind for kind in parts if not kind.__module__.startswith("reconciler.core.")}  # but for values of the core
    assert kinds
    kinds -= {Absence}  # a value
    assert all(kind.__name__.endswith("Reader") for kind in kinds), kinds
    writing = set().union(
        *(_promises(kind) for name, kind in _protocols().items() if name.endswith(("Writer", "Maker")))
    )
    assert writing
    for kind in kinds:
        assert _promises(kind) & writing == set()


def test_a_port_that_can_write_says_so_by_its_name() -> None:
    """A port named Reader promises nothing that a port named Writer or Maker promises."""
    ports_by_name = _protocols()
    writing = set().union(*(_promises(k) for name, k in ports_by_name.items() if name.endswith(("Writer", "Maker"))))
    for name, kind in ports_by_name.items():
        if name.endswith("Reader"):
            assert _promises(kind) & writing == set(), name


@pytest.mark.parametrize(
    "module",
    ["reconciler/controller/observe.py", "reconciler/controller/claims.py", "reconciler/controller/scan/plan.py"],
)
def test_what_observes_does_not_know_the_writers(module: str) -> None:
    writers = {
        f"reconciler.ports.{name}" for name in _protocols() if name.endswith(("Writer", "Maker")) or name == "State"
    }
    assert imported(modules()[module]) & writers == set()


def test_commands_that_only_read_do_not_know_what_writes() -> None:
    acting = ("StoreContext", "apply_plan", "reconcile", "CustomerWriter", "ShopMaker")
    for command in READING_COMMANDS:
        (tree,) = (
            tree
            for name, tree in modules().items()
            if name.startswith("reconciler/cli/commands/") and name.endswith(f"/{command}.py")
        )
        assert {t for t in imported(tree) if t.split(".")[-1] in acting} == set(), command


HELP = """
import sys
from reconciler.cli.main import COMMANDS, run
sys.stdout = open("/dev/null", "w")
for words in ([], ["mappings", "import"], ["backfill", "clerk"], ["db", "outbox"], *([command] for command in COMMANDS)):
    assert run([*words, "--help"]) == 0
assert run(["--version"]) == 0
"""


LISTED = """
import atexit, sys
before = set(sys.modules)
atexit.register(lambda: print(*set(sys.modules) - before, file=sys.stderr))
"""


def imported_by(program: str, *words: str) -> set[str]:
    """The names of all modules that this program has imported at its end."""
    argv = [sys.executable, "-c", LISTED + program, *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def test_the_help_of_a_command_imports_click_and_usages_only() -> None:
    found = {name for name in imported_by(HELP) if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name.split(".")[0] for name in found} == {"click", "reconciler"}
    assert {name for name in found if re.fullmatch(r"reconciler\..*", name) and ".usage" not in name} == {
        "reconciler.cli", "reconciler.cli.complete", "reconciler.cli.context", "reconciler.cli.main",
        "reconciler.cli.render", "reconciler.cli.render.plain", "reconciler.cli.streams", "reconciler.cli.times",
        "reconciler.core", "reconciler.core.model", "reconciler.core.model.batches",
        "reconciler.errors",
    }  # fmt: skip


NOT_OPENED = {
    "status": {
        "alembic", "apscheduler", "cryptography", "deepdiff", "faker", "fastapi", "graphql", "httpx", "jinja2",
        "phonenumbers", "psycopg", "rich.progress", "sqlalchemy.dialects.postgresql", "standardwebhooks", "structlog",
        "uvicorn", "reconciler.controller.observe", "reconciler.core.plan.gather",
        "reconciler.core.report.documents", "reconciler.shopify.api.client",
        "reconciler.supabase", "reconciler.server", "reconciler.simulator",
        "reconciler.state.operations.notices", "reconciler.state.operations.parity",
        "reconciler.state.operations.rollouts", "reconciler.state.operations.runs", "reconciler.state.tokens",
    },
    "plan": {
        "alembic", "apscheduler", "cryptography", "deepdiff", "faker", "fastapi", "graphql", "jinja2", "phonenumbers",
        "psycopg", "sqlalchemy.dialects.postgresql", "standardwebhooks", "structlog", "uvicorn",
        "reconciler.controller.bulk.apply", "reconciler.server", "reconciler.simulator", "reconciler.supabase.writing",
        "reconciler.state.bulk", "reconciler.state.console.sessions", "reconciler.state.erasure",
        "reconciler.state.operations.notices", "reconciler.state.operations.parity",
        "reconciler.state.operations.rollouts", "reconciler.state.operations.runs",
        "reconciler.state.processes.controllers", "reconciler.state.processes.leases",
        "reconciler.state.requests.statements", "reconciler.state.tables.requests", "reconciler.state.tables.scans",
        "reconciler.state.tokens",
    },
}  # fmt: skip


RUN_ONCE = """
import gc
from pydantic import TypeAdapter
from reconciler.cli.main import main
collections = [each["collections"] for each in gc.get_stats()]
try:
    main()
except SystemExit as end:
    assert end.code == 0
assert collections == [each["collections"] for each in gc.get_stats()], "what was imported was searched for garbage"
gc.unfreeze()
adapters = {repr(each) for each in gc.get_objects() if type(each) is TypeAdapter and each.pydantic_complete}
assert adapters.isdisjoint({f"TypeAdapter({name})" for name in ("Action", "Plan", "StorePlan")}), adapters
"""


@pytest.mark.parametrize("command", NOT_OPENED)
def test_a_command_does_not_import_what_it_does_not_open(cli: CliHarness, command: str) -> None:
    assert cli("bootstrap", "--yes").code == 0
    assert cli("apply", "--yes").code == 0
    if command == "status":
        for store in cli.stores.values():
            del store["admin_url"]  # httpx checks its spelling
        assert cli("status").code == 0
    files = ["--config", str(cli.folder / "reconciler.yaml"), "--stores", str(cli.folder / "stores.yaml")]
    found = imported_by(RUN_ONCE, *files, command)
    assert found & {"sqlmodel", "reconciler.state.repositories"}
    assert found & NOT_OPENED[command] == set()


def _declares_a_table(tree: ast.Module) -> bool:
    kinds = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return any(keyword.arg == "table" for kind in kinds for keyword in kind.keywords)


def test_modules_of_tables_do_not_defer_annotations() -> None:
    declaring = {name: tree for name, tree in modules().items() if _declares_a_table(tree)}
    assert "reconciler/state/tables/mappings.py" in declaring
    assert [name for name, tree in declaring.items() if "__future__.annotations" in imported(tree)] == []


def test_the_schema_knows_each_table() -> None:
    declaring = {
        name.removesuffix(".py").replace("/", ".") for name, tree in modules().items() if _declares_a_table(tree)
    }
    assert declaring <= imported(modules()["reconciler/state/all_tables.py"]) | {"reconciler.state.tables.mappings"}
