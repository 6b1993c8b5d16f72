"""`reconciler run` as its own process: how it starts, what it logs, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.manager.harness import HELD_S, RunHarness, deleted_event, run_harness, until, user_event
from tests.manager.processes import begin_installed, replicas


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[RunHarness]:
    with run_harness(tmp_path) as found:
        yield found


@pytest.fixture
def start(harness: RunHarness) -> Iterator[Any]:
    with replicas(harness) as begun:
        yield begun


def owned(harness: RunHarness) -> list[str]:
    """Requests that somebody has in progress, by the state itself."""
    with closing(sqlite3.connect(harness.folder / "state.db", timeout=60)) as connection:
        rows = connection.execute("select clerk_user_id from reconciler_request where owner is not null").fetchall()
    return [row[0] for row in rows]


def waiting(harness: RunHarness) -> int:
    with closing(sqlite3.connect(harness.folder / "state.db", timeout=60)) as connection:
        return int(connection.execute("select count(*) from reconciler_request").fetchone()[0])


def test_the_command_itself_runs_ends_by_sigterm_and_logs_json_without_anything_personal(harness: RunHarness) -> None:
    for n in range(4):
        harness.person(f"user_{n}", first_name="Tove", last_name="Personal", email=f"tove{n}@private.example")
    harness.write()
    files = ["--config", str(harness.paths[0]), "--stores", str(harness.paths[1])]
    with ExitStack() as stack:
        process = begin_installed([*files, "run", "--port", "0"], stack)
        process.started()
        until(lambda: len(harness.emails()) == 4, "everybody is in the shop")
        harness.shop().staff("create", email="taken@private.example", first_name="Guest")
        harness.shop().faults.add("internal_error", times=3)
        harness.person("user_0", email="taken@private.example", first_name="Other")
        process.accepted("user.updated", user_event("user_0"), "msg_1")
        process.accepted("user.deleted", deleted_event("user_3"), "msg_2")
        assert process.clerk("user.updated", ["no event"], "msg_3") == 400
        until(lambda: "Other" in {c["firstName"] for c in harness.customers().values()}, "the change is there")
        harness.stores["acme-us"]["tags"] = ["by-hangup"]
        harness.write()
        process.signal(signal.SIGHUP)
        until(lambda: {tuple(c["tags"]) for c in harness.customers().values()} >= {("by-hangup",)}, "the file was read")
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGTERM)
        assert process.ended() == 0
    entries = process.log()
    assert len(entries) >= 8
    assert all({"event", "level", "at"} <= entry.keys() for entry in entries)
    reconciled = [entry for entry in entries if entry["event"] == "reconciled"]
    assert reconciled
    assert all({"store", "user", "request"} <= entry.keys() for entry in reconciled)
    whole = "".join(process.lines)
    for personal in ("private.example", "Tove", "Personal", "Guest", "Other", "31415926", "token-acme", "whsec_"):
        assert personal not in whole, personal
    assert {line[0] for line in process.lines} == {"{"}, whole  # each line is JSON, the one that says where it runs too
    assert [entry["url"] for entry in entries if entry["event"] == "started"] == [process.url]


def test_what_python_itself_would_print_is_an_event_of_the_log_too(tmp_path: Path) -> None:
    """A generator thrown away when its database has gone, a thread that ends by an exception, a library's warning.

    What a library says below a warning is no event.
    """
    program = """
import gc, logging, threading, warnings
from reconciler.manager.logs import configure
from reconciler.outbound.databases.pool import PatientPool
configure()
PatientPool(dict).logger.info("recycling")  # as SQLAlchemy says of a connection after five minutes
def rows():
    try:
        yield 1
    finally:
        raise OSError("the connection is lost\\nand a second line")
def died():
    raise ZeroDivisionError
found = rows(); next(found); del found; gc.collect()
thread = threading.Thread(target=died, name="worker"); thread.start(); thread.join()
warnings.warn("old way", DeprecationWarning); warnings.warn("a library's")
logging.getLogger("other").warning("%d", "no number")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    entries = [json.loads(line) for line in ended.stderr.splitlines()]
    events = [entry["event"] for entry in entries]
    assert events[:2] == ["exception_ignored", "thread_crashed"]
    assert "the connection is lost" in entries[0]["exception"]
    assert entries[1]["thread"] == "worker"
    assert any("a library's" in event for event in events)
    assert events[-1] == "log_record_lost"


def test_readable_logs_are_lines_in_which_nothing_foreign_commands_the_terminal(tmp_path: Path) -> None:
    program = """
import structlog
from reconciler.manager.logs import configure
configure(readable=True)
structlog.get_logger("library").warning("a \\x1b[2J message")
structlog.get_logger("reconciler.x").info("reconciled", store="acme", error="a shop said \\x1b[2J\\u202e", seconds=0.2)
try:
    raise ZeroDivisionError
except ZeroDivisionError:
    structlog.get_logger("reconciler.x").exception("request_failed")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    foreign, first, *rest = ended.stderr.splitlines()
    assert "a \\x1b[2J message" in foreign
    assert "reconciled" in first
    assert "store=acme" in first
    assert "a shop said \\x1b[2J\\u202e" in first
    assert any(line.startswith("ZeroDivisionError") for line in rest)


def test_a_terminal_shows_in_plain_words_where_it_runs(harness: RunHarness) -> None:
    harness.write()
    here, there = os.openpty()
    command = [str(Path(sys.executable).with_name("reconciler")), "--config", str(harness.paths[0])]
    command += ["--stores", str(harness.paths[1]), "run", "--port", "0"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=there) as process:
        os.close(there)
        with open(here, encoding="utf-8", errors="replace") as terminal:  # noqa: PTH123  a descriptor
            told = next(line for line in terminal if line.startswith("running"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    assert re.fullmatch(r"running: http://127\.0\.0\.1:[0-9]+\s*", told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_its_files_are_read_ends_it_with_code_0(tmp_path: Path, number: int) -> None:
    pipe = tmp_path / "reconciler.yaml"  # a reader waits until someone writes it
    os.mkfifo(pipe)
    with ExitStack() as stack:
        process = begin_installed(["--config", str(pipe), "--stores", str(tmp_path / "stores.yaml"), "run"], stack)
        with pipe.open("w"):
            process.signal(number)
        assert process.ended() == 0
    assert process.lines == []


def test_sigint_ends_it_too_and_what_can_not_be_finished_in_time_is_handed_back(
    harness: RunHarness, start: Any
) -> None:
    harness.person("user_a")
    process = start(grace_s=0.5)
    process.started()
    until(lambda: harness.emails() and not owned(harness), "the customer is there, and recorded")
    harness.shop().faults.add("slow", seconds=HELD_S, times=None)
    process.accepted("user.updated", user_event("user_a"), "msg_1")
    until(lambda: owned(harness), "the user is being reconciled")
    for _ in range(3):
        process.signal(signal.SIGINT)
    assert process.ended() == 0
    assert process.said("requests_returned")
    assert owned(harness) == []
    assert waiting(harness) == 1  # the next one to start takes it immediately
    harness.shop().faults.clear()


def test_a_second_run_on_one_file_is_refused_and_the_first_continues(harness: RunHarness, start: Any) -> None:
    harness.person("user_a")
    first = start()
    first.started()
    until(harness.emails, "the customer is there")
    second = start()
    assert second.ended() == 1
    said = "".join(second.lines)
    assert f"another `reconciler run` (process {first.popen.pid}) has" in said
    assert "hint: stop it first; for several, use Postgres" in said
    harness.person("user_b")
    first.accepted("user.created", user_event("user_b"), "msg_1")
    until(lambda: len(harness.emails()) == 2, "the first continues")
    first.signal(signal.SIGKILL)
    first.ended()
    third = start()  # the kernel has freed the lock
    third.started()
    third.signal(signal.SIGTERM)
    assert third.ended() == 0


def test_what_a_killed_process_had_in_progress_waits_for_no_lease(harness: RunHarness, start: Any) -> None:
    """The leases are longer than this test would wait."""
    long = {"lease_s": 600.0, "scan_lease_s": 600.0}
    for n in range(4):
        harness.person(f"user_{n}")
    first = start(**long)
    first.started()
    until(lambda: len(harness.emails()) == 4, "everybody is there")
    until(lambda: not waiting(harness), "nothing is owed")
    harness.shop().faults.add("slow", seconds=8.0, times=None)
    for n in range(4):
        harness.person(f"user_{n}", first_name="Changed")
        first.accepted("user.updated", user_event(f"user_{n}"), f"msg_{n}")
    until(lambda: owned(harness), "somebody is in progress")
    with closing(sqlite3.connect(harness.folder / "state.db", timeout=60)) as connection, connection:
        connection.execute(
            "insert or replace into reconciler_lease (name, owner, fence, until) values (?, ?, ?, ?)",
            ("look:acme-us.myshopify.com", "the killed one", 7, "2999-01-01 00:00:00.000000"),
        )
    first.signal(signal.SIGKILL)
    first.ended()
    assert owned(harness)
    harness.shop().faults.clear()
    harness.person("user_new", first_name="Changed")  # the resync at the start finds the user
    second = start(**long)
    second.started()
    until(lambda: [c["firstName"] for c in harness.customers().values()] == ["Changed"] * 5, "all is done")
    assert second.said("requests_taken_over")
