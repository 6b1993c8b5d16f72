"""`apply --bulk always` is killed, and the next one waits for nothing: the dead process is provably gone."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.manager.street import Street, a_street, until

PEOPLE = 20
LEASED = "select count(*) from reconciler_lease where name like 'bulk %' and owner <> ''"


def begun(street: Street) -> subprocess.Popen[str]:
    street.write()
    command = [str(Path(sys.executable).with_name("reconciler")), "--config", str(street.paths[0])]
    command += ["--stores", str(street.paths[1]), "apply", "--yes", "--bulk", "always"]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def is_leased(street: Street) -> bool:
    with closing(sqlite3.connect(street.folder / "state.db", timeout=60)) as state:
        return bool(state.execute(LEASED).fetchone()[0])


def is_frozen(process: subprocess.Popen[str], street: Street) -> bool:
    """Stop it where it is; False where it holds the state's file just then."""
    process.send_signal(signal.SIGSTOP)
    with closing(sqlite3.connect(street.folder / "state.db", timeout=1)) as state:
        try:
            state.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
            return False
        state.rollback()
    return True


def test_who_comes_after_a_killed_apply_waits_for_nothing(tmp_path: Path) -> None:
    with a_street(tmp_path) as street:
        for n in range(PEOPLE):
            street.person(f"user_{n}")
        street.shop().shop.bulk_rows_per_s = 0.01  # in hand for as long as it takes to freeze it
        with begun(street) as killed:
            until(lambda: is_leased(street), "bulk operations are in hand")
            until(lambda: is_frozen(killed, street), "it is frozen outside of a transaction")
            street.shop().shop.bulk_rows_per_s = None
            with begun(street) as waiting:
                assert waiting.stderr is not None
                told = next(line for line in waiting.stderr if "another process" in line)
                assert f"(process {killed.pid} on this machine)" in told
                killed.kill()
                began = time.monotonic()
                assert waiting.wait(60) == 0
                assert time.monotonic() - began < 30.0
        assert len(street.emails()) == PEOPLE
        with begun(street) as again:
            assert again.wait(60) == 0
        assert len(street.emails()) == PEOPLE
