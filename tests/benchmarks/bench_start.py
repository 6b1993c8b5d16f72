"""How long a command takes to start: its CPU beside that of importing the libraries that it can't do without.

Both are measured in turn within one run, each as the least of several, so that a busy machine changes the ratio little.
Neither sees variables such as PYTHONDONTWRITEBYTECODE, by which a changed module would be compiled in each run.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.cli.main import COMMANDS
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import upgrade
from tests.benchmarks.scratch import QUIET

HELP_MAX, STATUS_MAX = 2.0, 1.3  # times the import of click, and of SQLModel
RECONCILER = str(Path(sys.executable).with_name("reconciler"))


def measure(times: int) -> dict[str, Any]:
    """The CPU seconds and ratios of the slowest `--help`, and of `status` on a state without rows."""
    with tempfile.TemporaryDirectory() as folder:
        found = least(
            {
                "click": [sys.executable, "-c", "import click"],
                **{f"{name} --help": [RECONCILER, name, "--help"] for name in COMMANDS},
                "sqlmodel": [sys.executable, "-c", "import sqlmodel"],
                "status": [RECONCILER, *_files(Path(folder)), "status"],
            },
            times,
        )
    slowest = max((name for name in found if name.endswith("--help")), key=lambda name: found[name])
    return {
        "cpu_s": {name: round(cpu_s, 3) for name, cpu_s in found.items()},
        "slowest_help": slowest,
        "help_ratio": round(found[slowest] / found["click"], 2),
        "status_ratio": round(found["status"] / found["sqlmodel"], 2),
    }


def least(programs: Mapping[str, Sequence[str]], times: int) -> dict[str, float]:
    """The least CPU seconds of each program, which are run in turn so many times."""
    found = dict.fromkeys(programs, float("inf"))
    for _ in range(times):
        for name, argv in programs.items():
            before = _children_s()
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=QUIET)
            found[name] = min(found[name], _children_s() - before)
    return found


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _files(folder: Path) -> list[str]:
    """The options for the settings files of one shop, with a state at the newest schema."""
    url = f"sqlite:///{folder / 'state.db'}"
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
    columns = {name: name for name in ("clerk_user_id", "email", "email_verified")}
    shop = {"name": "acme", "shop": "acme.myshopify.com", "auth": {"access_token": "token"}}
    files = {
        "--config": {"version": 1, "state": {"url": url}, "profiles": {"table": "customers", "columns": columns}},
        "--stores": {"version": 1, "stores": [shop]},
    }
    options = []
    for option, content in files.items():
        path = folder / f"{option.strip('-')}.yaml"
        path.write_text(json.dumps(content))
        options += [option, str(path)]
    return options
