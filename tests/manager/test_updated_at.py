"""Rows that change while their `updated_at` does not: resyncs find them, say so, and stop trusting the column."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.cli.main import run as command
from reconciler.manager.http.status_rows import status_rows_of
from tests.manager.harness import US, RunHarness, Running, now_text, until

OLD = "2026-01-05T09:00:00+00:00"


@pytest.fixture
def unmaintained(harness: RunHarness) -> RunHarness:
    """Eight users, each with the day on which their row was made as `updated_at`."""
    harness.settings["controller"]["resync_s"] = 0.2
    for n in range(8):
        harness.person(f"user_{n}", first_name=f"N{n}", updated_at=OLD)
    return harness


def renamed(harness: RunHarness, user: str, name: str, *, updated_at: str = OLD) -> None:
    harness.sql("update customers set first_name = ?, updated_at = ? where clerk_user_id = ?", name, updated_at, user)


def shown(harness: RunHarness, user: str) -> str | None:
    name: str | None = harness.customers()[f"{user}@example.com"]["firstName"]
    return name


def unmoved(run: Running) -> tuple[str, ...]:
    (row,) = status_rows_of(run.components, run.components.loaded.stores)
    return row.updated_at_unmoved


def said(harness: RunHarness, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """One command line on the same files."""
    config, stores = harness.paths
    capsys.readouterr()
    command(["--config", str(config), "--stores", str(stores), *words])
    return " ".join(capsys.readouterr().out.split())


def scanned_changes(run: Running) -> None:
    """Two resyncs have begun and ended from now on."""
    before = run.metric("reconciler_sweeps_total", result="done")
    until(lambda: run.metric("reconciler_sweeps_total", result="done") >= before + 2, "two more resyncs were taken")


@pytest.mark.slow
def test_a_row_that_changes_without_its_updated_at_is_found_by_a_resync_and_told(
    unmaintained: RunHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    with unmaintained.replica() as run:
        run.scanned_all()
        scanned_changes(run)
        assert unmoved(run) == ()
        assert run.metric("reconciler_updated_at_unmoved", store=US) == 0
        renamed(unmaintained, "user_3", "Ada")
        until(lambda: shown(unmaintained, "user_3") == "Ada", "a resync has found the change")
        until(lambda: unmoved(run) == ("user_3",), "the state knows that the column does not move")
        until(lambda: run.metric("reconciler_updated_at_unmoved", store=US) == 1, "the metrics show it")
        assert "updated_at is not updated" in run.client.get("/").text
        assert "updated_at is not updated: the row of user_3 changed without it" in said(unmaintained, capsys, "status")
        (row,) = found(said(unmaintained, capsys, "status", "--output", "json"))["stores"]
        assert row["updated_at_unmoved"] == ["user_3"]
        assert "trigger on update" in said(unmaintained, capsys, "doctor")
        renamed(unmaintained, "user_5", "Grace")
        until(lambda: shown(unmaintained, "user_5") == "Grace", "the next one is found too")


@pytest.mark.slow
def test_the_column_is_trusted_again_once_it_moves_with_a_row_and_not_for_a_new_row(unmaintained: RunHarness) -> None:
    with unmaintained.replica() as run:
        run.scanned_all()
        scanned_changes(run)
        renamed(unmaintained, "user_3", "Ada")
        until(lambda: unmoved(run) == ("user_3",), "the state knows that the column does not move")
        unmaintained.person("user_new", updated_at=now_text())
        until(lambda: run.status("user_new") == "in_sync", "a new user is there")
        scanned_changes(run)
        assert unmoved(run) == ("user_3",)
        renamed(unmaintained, "user_4", "Grace", updated_at=now_text())
        until(lambda: unmoved(run) == (), "the column moves again")
        until(lambda: shown(unmaintained, "user_4") == "Grace", "the change is in the shop")


@pytest.mark.slow
def test_a_change_that_waits_in_the_queue_is_no_proof_against_the_column(unmaintained: RunHarness) -> None:
    with unmaintained.replica() as run:
        run.scanned_all()
        scanned_changes(run)
        unmaintained.shop().faults.add("status", status=503, times=10_000)
        renamed(unmaintained, "user_3", "Ada", updated_at=now_text())
        until(lambda: "user_3" in run.waiting(), "the change is in the queue")
        renamed(unmaintained, "user_3", "Ada", updated_at=OLD)  # as a resync long after the change would see it
        scanned_changes(run)
        assert unmoved(run) == ()


def found(text: str) -> Any:
    """The JSON in what was printed: the replica of this process logs to the same place."""
    return json.JSONDecoder().raw_decode(text[text.index('{ "at"') :])[0]
