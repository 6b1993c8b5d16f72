"""How requests rank."""

from datetime import UTC, datetime, timedelta

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Priority, Request, rank_at, resync_rank_at

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
INTERVAL_S = 900.0


def turns() -> list[float]:
    names = (Request(StoreName("acme"), ClerkUserId(f"user_{n}")) for n in range(2000))
    return sorted((resync_rank_at(name, NOW, INTERVAL_S) - NOW).total_seconds() for name in names)


def test_nudges_go_before_retries_and_retries_before_resyncs_that_are_due_at_the_same_time() -> None:
    assert rank_at(Priority.NUDGE, NOW) < rank_at(Priority.RETRY, NOW) < rank_at(Priority.RESYNC, NOW)


def test_each_has_its_turn_once_it_has_waited_long_enough() -> None:
    later = NOW + timedelta(seconds=301)
    assert rank_at(Priority.RESYNC, NOW) < rank_at(Priority.NUDGE, later)
    assert rank_at(Priority.RETRY, NOW) < rank_at(Priority.NUDGE, NOW + timedelta(seconds=6))


def test_a_resync_gives_way_to_nudges_at_first_and_comes_of_age_within_its_interval() -> None:
    assert turns()[0] >= INTERVAL_S / 4
    assert turns()[-1] <= INTERVAL_S


def test_the_keys_of_a_resync_come_of_age_one_by_one_and_not_all_together() -> None:
    width = INTERVAL_S * 0.75 / 10
    tenths = [sum(1 for turn in turns() if int((turn - INTERVAL_S / 4) / width) == tenth) for tenth in range(10)]
    assert min(tenths) > 150, tenths
    assert max(tenths) < 250, tenths
