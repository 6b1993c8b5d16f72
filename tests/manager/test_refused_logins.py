"""`run` that starts while a pooler refuses all logins: a block and a full pooler are waited for, a wrong login is not."""

from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError
from reconciler.manager.startup import open_databases
from reconciler.settings import load
from reconciler.wiring import open_components
from tests.manager.harness import RunHarness, run_harness
from tests.postgres_gate import Gate, postgres_gate

TURNS = 20
BLOCKED = "(ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked"
SESSIONS = "(EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15"


def started(harness: RunHarness, told: list[str]) -> bool:
    """Whether both databases were open after so many turns of waiting."""
    harness.write()
    left = iter(range(TURNS))
    with open_components(load(*harness.paths, {}), warn=told.append, wait_s=0) as components:
        return open_databases(components, tell=told.append, wait=lambda _seconds: next(left, None) is None)


@pytest.mark.parametrize("says", [BLOCKED, SESSIONS])
@pytest.mark.parametrize("part", ["profiles", "state"])
def test_what_time_heals_is_asked_once_and_said_once(tmp_path: Path, part: str, says: str) -> None:
    with postgres_gate() as gate, run_harness(tmp_path) as harness:
        gate.says = ("XX000", says)
        _point(harness, part, gate)
        told: list[str] = []
        assert not started(harness, told)
        assert len(gate.logins) == 1
        assert len(told) == 1
        assert says in told[0]


@pytest.mark.parametrize("part", ["profiles", "state"])
def test_a_login_that_no_waiting_mends_ends_the_start(tmp_path: Path, part: str) -> None:
    with postgres_gate() as gate, run_harness(tmp_path) as harness:
        gate.says = ("XX000", "(ENOTFOUND) tenant/user reader.projectref not found")
        _point(harness, part, gate)
        with pytest.raises(ReconcilerError, match="ENOTFOUND") as refused:
            started(harness, [])
        assert f"{part}.url" in refused.value.hint
        assert len(gate.logins) == 1


def _point(harness: RunHarness, part: str, gate: Gate) -> None:
    table = {"table": "public.customers"} if part == "profiles" else {}
    harness.settings[part] |= {"url": gate.url(), **table}
