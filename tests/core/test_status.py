"""Parity is 1.0 only where everybody who is wanted by a store is known to be right."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.report.status import Doubts, StatusRow, bulk_progress, mirror_progress, scan_progress, status_row
from reconciler.core.report.under_way import under_way_of

Tally = Mapping[tuple[str, str | None], int]
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
ALL_RIGHT: Tally = {("in_sync", None): 10, ("released", None): 3, ("erased", "Erased"): 1}


def row(tally: Tally = ALL_RIGHT, *, profiles: int | None = 10, **more: Any) -> StatusRow:
    given = {"mapped": 10, "last_sweep_at": None, "suspended": None, **more}
    return status_row(StoreName("acme"), ShopDomain("acme.myshopify.com"), tally, profiles=profiles, **given)


def test_everybody_wanted_in_sync_and_no_one_waiting_is_one() -> None:
    found = row()
    assert (found.profiles, found.in_sync, found.pending, found.parity, found.parity_note) == (10, 10, 0, 1.0, None)


def test_a_store_that_wants_no_profile_has_no_parity_and_says_so() -> None:
    found = row({}, profiles=0)
    assert (found.parity, found.profiles) == (0.0, 0)
    assert found.parity_note is not None
    assert "no users" in found.parity_note


@pytest.mark.parametrize(
    ("tally", "profiles", "doubts", "parity"),
    [
        ({**ALL_RIGHT, ("pending", None): 1}, 10, Doubts(), 10 / 11),  # known since the last count
        ({**ALL_RIGHT, ("held", "NoEmail"): 2}, 10, Doubts(), 10 / 12),
        (ALL_RIGHT, 10, Doubts(in_sync=2), 0.8),  # their rows are from before somebody asked for a look
        (ALL_RIGHT, 10, Doubts(unknown=6), 10 / 16),  # new rows, by their requests
        (ALL_RIGHT, 12, Doubts(unknown=1), 10 / 12),  # among those that were counted, as far as anybody knows
        (ALL_RIGHT, 12, Doubts(left=2), 1.0),
        (ALL_RIGHT, 12, Doubts(left=9), 1.0),
        (ALL_RIGHT, 12, Doubts(left=1), 10 / 11),
    ],
)
def test_a_user_who_is_not_known_to_be_right_counts(tally: Tally, profiles: int, doubts: Doubts, parity: float) -> None:
    found = row(tally, profiles=profiles, doubts=doubts)
    assert found.parity == pytest.approx(parity, abs=1e-6)
    assert found.in_sync + found.pending + sum(found.held.values()) == found.profiles


def test_one_in_ten_millions_is_not_rounded_away() -> None:
    found = row({("in_sync", None): 9_999_999}, profiles=10_000_000)
    assert (found.parity, found.pending) == (0.999999, 1)


def test_where_no_scan_was_made_parity_is_nothing_and_said_to_be_unknown() -> None:
    found = row(profiles=None)
    assert (found.parity, found.in_sync) == (0.0, 10)
    assert found.parity_note is not None
    assert "no full scan yet" in found.parity_note


@pytest.mark.parametrize(
    ("ago", "done", "total", "left"),
    [
        (timedelta(minutes=10), 2_500, 10_000, timedelta(minutes=30)),
        (timedelta(minutes=10), 10_000, 10_000, timedelta()),
        (timedelta(), 10, 10_000, timedelta()),  # begun this very moment
        (timedelta(minutes=10), 0, 10_000, None),
        (timedelta(minutes=10), 10, 0, None),
        (timedelta(minutes=10), 10, None, None),
        (timedelta(minutes=10), 10_001, 10_000, None),  # there are more than were counted
        (timedelta(minutes=-5), 10, 10_000, None),  # the clock was put back: the end would be in the past
        (timedelta(days=365), 500, 5_000_000, None),  # a year of standing still: the end would be beyond any date
        (timedelta(days=365), 1, 10**10, None),
    ],
)
def test_an_end_is_forecast_only_where_it_can_be_and_is_never_past(
    ago: timedelta, done: int, total: int | None, left: timedelta | None
) -> None:
    ends_at = NOW + left if left is not None else None
    assert scan_progress(NOW - ago, done, total, now=NOW).ends_at == ends_at
    mirror = mirror_progress(
        "gid://shopify/BulkOperation/1", NOW - ago, done, total,
        complete_at=None, listed_at=None, fresh=False, now=NOW,
    )  # fmt: skip
    assert mirror.ends_at == ends_at


def test_writes_by_bulk_end_never_in_the_past_either() -> None:
    so: Any = {"files": 1, "operations": 1, "now": NOW}
    assert bulk_progress(NOW - timedelta(minutes=10), 400, 300, 0, **so).ends_at == NOW + timedelta(minutes=30)
    assert bulk_progress(NOW + timedelta(minutes=5), 400, 300, 0, **so).ends_at is None
    assert bulk_progress(NOW - timedelta(minutes=10), 400, 400, 0, **so).ends_at is None


def test_no_scan_is_in_progress_while_the_shop_refuses() -> None:
    scan = scan_progress(NOW, 0, 10, now=NOW)
    assert list(under_way_of(row(scan=scan))) == [f"full scan since {NOW:%Y-%m-%d %H:%M} UTC: 0 of 10 rows"]
    assert not list(under_way_of(row(scan=scan, suspended="the token is refused")))
