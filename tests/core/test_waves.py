"""The state machine of rollouts: how a wave ends, what stops it, and what an operator or another edit makes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.rollout import Rollout, RolloutSettings, StoreProgress, WaveCounts
from reconciler.core.plan.waves import WaveStore, abort, advance, begin, exceeded, open_next, resume, why_held_back
from reconciler.core.report.needs import rollout_needs
from reconciler.core.report.rollout import rollout_report
from tests.core.people import NOW

ADA = Actor("ada", "command")
AUTO, MANUAL = RolloutSettings(pause="auto"), RolloutSettings()
FINE = StoreProgress(counts=WaveCounts(touched=100, changed=100))
REFUSED = StoreProgress(counts=WaveCounts(touched=100, changed=97, failed=3))
HELD = StoreProgress(counts=WaveCounts(touched=100, changed=70, held=30))
BUSY = StoreProgress(waits_for="its full resync", counts=REFUSED.counts)
LATER = NOW + timedelta(seconds=600)


def shop(name: str) -> ShopDomain:
    return ShopDomain(f"{name}.myshopify.com")


def store(name: str, wave: int, *, target: str = "new", kept: str | None = "old") -> WaveStore:
    return WaveStore(name=StoreName(name), shop=shop(name), wave=wave, target=target, kept=kept)


THREE = (store("a", 1), store("b", 2), store("c", 3))


@dataclass(frozen=True, slots=True)
class World:
    """How far each store is; a store that is not named is done and within its limits."""

    known: Mapping[str, StoreProgress]

    def __call__(self, shops: Collection[ShopDomain]) -> Mapping[ShopDomain, StoreProgress]:
        by_shop = {shop(name): progress for name, progress in self.known.items()}
        return {each: by_shop.get(each, FINE) for each in shops}


def begun(stores: tuple[WaveStore, ...] = THREE, former: Rollout | None = None) -> Rollout:
    found = begin(former, stores, actor=ADA, now=NOW)
    assert found is not None
    return found


def shown(rollout: Rollout) -> tuple[str, int]:
    return rollout.phase, rollout.wave


def opened(stores: tuple[WaveStore, ...], rollout: Rollout) -> tuple[WaveStore, ...]:
    """The stores once the rollout's waves have the new policy."""
    return tuple(replace(s, kept=s.target) if s.shop in rollout.opened else s for s in stores)


SOAKING = replace(begun(), phase="soaking", soak_until=LATER)
LAST = open_next(open_next(begun(), THREE, now=NOW), THREE, now=NOW)


@pytest.mark.parametrize(
    ("before", "world", "limits", "now", "after"),
    [
        (begun(), {"a": BUSY}, AUTO, NOW, ("rolling", 1)),  # however many have failed: the wave is not done
        (begun(), {}, AUTO, NOW, ("soaking", 1)),
        (begun(), {"a": REFUSED}, AUTO, NOW, ("stopped", 1)),
        (begun(), {"a": HELD}, AUTO, NOW, ("stopped", 1)),
        (begun(), {"a": HELD}, RolloutSettings(pause="auto", held_percent=30), NOW, ("soaking", 1)),
        (begun(), {"b": REFUSED}, AUTO, NOW, ("soaking", 1)),  # a store of a later wave does not count
        (begun(), {}, RolloutSettings(pause="auto", soak_s=0), NOW, ("rolling", 2)),
        (begun(), {}, RolloutSettings(soak_s=0), NOW, ("waiting", 1)),
        (SOAKING, {}, AUTO, NOW, ("soaking", 1)),
        (SOAKING, {}, AUTO, LATER, ("rolling", 2)),
        (SOAKING, {}, MANUAL, LATER, ("waiting", 1)),
        (SOAKING, {"a": REFUSED}, AUTO, LATER, ("stopped", 1)),  # failures that came during the soak
        (replace(SOAKING, soak_until=LATER + timedelta(days=9)), {}, AUTO, NOW, ("rolling", 2)),  # a clock was ahead
        (replace(begun(), phase="waiting"), {}, AUTO, LATER, ("waiting", 1)),
        (replace(begun(), phase="stopped"), {}, AUTO, LATER, ("stopped", 1)),
        (replace(begun(), phase="aborted"), {}, AUTO, LATER, ("aborted", 1)),
        (LAST, {"c": BUSY}, AUTO, NOW, ("rolling", 3)),
        (LAST, {}, MANUAL, NOW, ("finished", 3)),
        (LAST, {"c": REFUSED}, MANUAL, NOW, ("stopped", 3)),
    ],
)
def test_a_wave_is_done_then_judged_then_watched_and_judged_again(
    before: Rollout, world: Mapping[str, StoreProgress], limits: RolloutSettings, now: object, after: tuple[str, int]
) -> None:
    assert isinstance(now, type(NOW))
    assert shown(advance(before, THREE, World(world), limits, now=now)) == after


def test_a_command_leaves_the_next_wave_to_the_next_command() -> None:
    limits = RolloutSettings(pause="auto", soak_s=0)
    assert shown(advance(begun(), THREE, World({}), limits, now=NOW, may_open=False)) == ("soaking", 1)


def test_a_rollout_begins_where_the_file_and_the_policies_differ() -> None:
    assert begin(None, tuple(replace(s, kept="new") for s in THREE), actor=ADA, now=NOW) is None
    first = begun()
    assert (first.opened, first.current) == ((shop("a"),), (shop("a"),))
    assert begin(first, THREE, actor=ADA, now=NOW) is None, "it is under way already"
    only_last = (replace(THREE[0], kept="new"), replace(THREE[1], kept="new"), THREE[2])
    assert shown(begun(only_last)) == ("rolling", 3), "no earlier wave has anything to do"
    new_store = (*(replace(s, kept="new") for s in THREE), store("d", 2, kept=None))
    assert shown(begun(new_store, replace(first, phase="finished"))) == ("rolling", 2)


def test_another_edit_begins_at_wave_one_and_judges_the_reached_stores_again() -> None:
    stopped = advance(begun(), THREE, World({"a": REFUSED}), AUTO, now=NOW)
    unrelated = (*opened(THREE[:1], stopped), replace(THREE[1], target="newer"), THREE[2])
    again = begun(unrelated, stopped)
    assert (shown(again), again.unproven, again.id) == (("rolling", 1), (shop("a"),), 2)
    assert shown(advance(again, unrelated, World({"a": REFUSED}), AUTO, now=NOW)) == ("stopped", 1)


def test_an_edit_back_begins_a_rollout_of_the_reached_stores_alone() -> None:
    first = begun()
    back = tuple(replace(s, target="old") for s in opened(THREE, first))
    again = begun(back, first)
    assert shown(again) == ("rolling", 1)
    assert shown(advance(again, back, World({}), AUTO, now=NOW)) == ("finished", 1)


@pytest.mark.parametrize("phase", ["rolling", "soaking", "waiting", "stopped", "aborted"])
def test_an_operator_continues_whatever_it_waits_for(phase: str) -> None:
    held = replace(begun(), phase=phase)  # type: ignore[arg-type]  # each of them is a phase
    found = resume(held, THREE, now=NOW)
    assert found is not None
    assert shown(found) == ("rolling", 2)


def test_there_is_nothing_to_continue_or_abort_without_a_rollout_under_way() -> None:
    finished = replace(begun(), phase="finished")
    assert [resume(None, THREE, now=NOW), resume(finished, THREE, now=NOW)] == [None, None]
    assert [abort(None), abort(finished), abort(replace(begun(), phase="aborted"))] == [None, None, None]
    ended = abort(begun())
    assert ended is not None
    assert shown(ended) == ("aborted", 1)
    assert "aborted at wave 1" in why_held_back(ended, 2)


def test_shares_are_of_the_users_that_the_wave_touches() -> None:
    limits = RolloutSettings()
    assert exceeded(1, WaveCounts(), limits) == ""
    assert exceeded(1, WaveCounts(touched=400, changed=398, failed=2), limits) == ""
    assert exceeded(1, WaveCounts(touched=5, failed=5), limits) == (
        "wave 1 exceeds failed_percent 0.5: 5 of 5 touched users failed (100.0 %)"
    )


def test_a_rollout_that_waits_or_stopped_is_one_need_of_one_store() -> None:
    assert rollout_needs(None) == rollout_needs(begun()) == {}
    stopped = replace(
        begun(), phase="stopped", message="wave 1 exceeds failed_percent 0.5", current=(shop("a"), shop("b"))
    )
    assert rollout_needs(stopped) == {
        shop("a"): {"rollout": "the rollout stopped: wave 1 exceeds failed_percent 0.5: reconciler rollout status"}
    }
    assert list(rollout_needs(replace(begun(), phase="waiting"))) == [shop("a")]


def test_a_wave_that_a_store_has_moved_into_does_not_show_what_others_did() -> None:
    waiting = replace(begun(), phase="waiting", waves={1: FINE.counts})
    moved = (store("a", 2, kept="new"), store("b", 1), store("c", 3))
    first, second, third = rollout_report(waiting, moved, {}, MANUAL).waves
    assert (first.state, first.counts) == ("not begun", None)
    assert (second.state, third.state) == ("done", "not begun")


@pytest.mark.parametrize(
    ("former", "stores", "headline", "next_step"),
    [
        (
            None,
            THREE,
            "no rollout has begun, and stores keep an earlier policy than that of stores.yaml",
            "`reconciler apply`",
        ),
        (None, tuple(replace(s, kept=None) for s in THREE), "no rollout has begun: stores wait", "`reconciler apply`"),
        (None, tuple(replace(s, kept="new") for s in THREE), "no rollout yet: all stores have the policy", ""),
        (open_next(LAST, THREE, now=NOW), opened(THREE, LAST), "finished: all waves have the policy", ""),
        (
            open_next(LAST, THREE, now=NOW),
            (store("a", 1, target="newer"),),
            "finished, but stores.yaml has",
            "stores.yaml differs",
        ),
        (open_next(LAST, THREE, now=NOW), (store("a", 1, kept="new"),), "finished: all waves have the policy", ""),
    ],
)
def test_what_is_said_before_a_rollout_and_after_it_is_true_of_stores_yaml(
    former: Rollout | None, stores: tuple[WaveStore, ...], headline: str, next_step: str
) -> None:
    report = rollout_report(former, stores, {}, MANUAL)
    assert report.headline.startswith(headline)
    assert report.next_step.startswith(next_step)
    assert bool(report.next_step) == bool(next_step)
