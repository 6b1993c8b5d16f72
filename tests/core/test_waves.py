"""The state machine of rollouts: how a wave ends, what stops it, and what an operator or another edit makes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.rollout import Rollout, RolloutSettings, StoreProgress, WaveCounts
from reconciler.core.plan.waves import (
    WaveStore,
    abort,
    advance,
    begin,
    end,
    exceeded,
    missing,
    open_next,
    resume,
    why_held_back,
)  # fmt: skip
from reconciler.core.report.needs import rollout_needs
from reconciler.core.report.rollout import NEXT_STEPS, rollout_report
from tests.core.people import NOW

ADA = Actor("ada", "command")
AUTO, MANUAL = RolloutSettings(pause="auto"), RolloutSettings()
FINE = StoreProgress(counts=WaveCounts(touched=100, changed=100))
REFUSED = StoreProgress(counts=WaveCounts(touched=100, changed=97, failed=3))
HELD = StoreProgress(counts=WaveCounts(touched=100, changed=70, held=30))
BUSY = StoreProgress(waits_for="a full resync", counts=REFUSED.counts)
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
        (replace(SOAKING, soak_until=LATER + timedelta(days=9)), {}, AUTO, NOW, ("soaking", 1)),  # a clock was ahead
        (replace(SOAKING, soak_until=LATER + timedelta(days=9)), {}, RolloutSettings(soak_s=0), NOW, ("waiting", 1)),
        (replace(begun(), opened_at=LATER), {}, AUTO, NOW, ("rolling", 1)),  # the clock was set back
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


def test_what_a_clock_that_was_ahead_has_dated_begins_again_now() -> None:
    soaking, rolling = replace(SOAKING, soak_until=LATER + timedelta(days=9)), replace(begun(), opened_at=LATER)
    assert advance(soaking, THREE, World({}), AUTO, now=NOW).soak_until == LATER
    assert advance(rolling, THREE, World({}), AUTO, now=NOW).opened_at == NOW
    assert advance(SOAKING, THREE, World({}), AUTO, now=NOW) == SOAKING


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
    found = resume(held, THREE, World({"a": REFUSED}), now=NOW)
    assert found is not None
    assert shown(found) == ("rolling", 2)
    assert found.waves == ({} if phase == "aborted" else {1: REFUSED.counts}), "what it did is noted, and not judged"


def test_there_is_nothing_to_continue_or_abort_without_a_rollout_under_way() -> None:
    finished = replace(begun(), phase="finished")
    fine, aborted = World({}), replace(begun(), phase="aborted")
    assert [resume(each, THREE, fine, now=NOW) for each in (None, finished)] == [None, None]
    assert [abort(each, fine) for each in (None, finished, aborted)] == [None, None, None]
    ended = abort(begun(), fine)
    assert ended is not None
    assert (shown(ended), ended.waves) == (("aborted", 1), {1: FINE.counts})
    assert "aborted at wave 1" in why_held_back(ended, 2)


NONE, ALL = RolloutSettings(failed_percent=0, held_percent=0), RolloutSettings(failed_percent=100, held_percent=100)
FAILED_5 = "wave 1 exceeds failed_percent 0.5: 5 of 5 touched users failed (100.0 %)"
HELD_1 = "wave 1 exceeds held_percent 20: 1 of 1 touched users are newly held (100.0 %)"


@pytest.mark.parametrize(
    ("counts", "limits", "words"),
    [
        (WaveCounts(), NONE, ""),  # a wave without users
        (WaveCounts(touched=400, changed=400), NONE, ""),
        (WaveCounts(touched=100_000, changed=99_999, failed=1), NONE, "failed_percent 0:"),
        (WaveCounts(touched=100_000, changed=99_999, held=1), NONE, "held_percent 0:"),
        (WaveCounts(touched=400, changed=398, failed=2), MANUAL, ""),
        (WaveCounts(touched=5, failed=5), MANUAL, FAILED_5),
        (WaveCounts(touched=1, changed=1, failed=1), MANUAL, "1 of 1 touched users failed"),
        (WaveCounts(touched=1, held=1), MANUAL, HELD_1),
        (WaveCounts(touched=5, failed=5), ALL, ""),
        (WaveCounts(touched=5, held=5), ALL, ""),
    ],
)
def test_shares_are_of_the_users_that_the_wave_touches(counts: WaveCounts, limits: RolloutSettings, words: str) -> None:
    found = exceeded(1, counts, limits)
    assert words in found
    assert bool(found) == bool(words)


@pytest.mark.parametrize("phase", ["rolling", "soaking", "waiting", "stopped"])
def test_files_that_lack_shops_of_a_rollout_under_way_neither_continue_it_nor_seem_to(phase: str) -> None:
    former = replace(begun(), phase=phase)  # type: ignore[arg-type]  # each of them is a phase
    assert missing(former, THREE) == []
    assert missing(former, THREE[1:]) == [shop("a")]
    assert missing(replace(former, phase="aborted"), THREE[1:]) == missing(None, THREE[1:]) == []
    report = rollout_report(former, THREE[1:], {}, MANUAL)
    assert report.next_step.startswith("stores.yaml lacks a.myshopify.com, so this rollout does not continue")


def test_a_wave_in_progress_says_what_an_operator_has_to_do_and_which_limit_it_exceeds() -> None:
    busy, held = StoreProgress(waits_for="9 requests"), StoreProgress(waits_for="paused", asks=True)
    rollout = begun()
    (ours,) = rollout.current
    goes = rollout_report(rollout, THREE, {ours: busy}, MANUAL)
    assert (goes.asks, goes.next_step) == (False, NEXT_STEPS["rolling"])
    waits = rollout_report(rollout, THREE, {ours: held}, MANUAL)
    assert waits.asks
    assert waits.next_step.startswith("resume, correct or approve what these stores wait for")
    fails = rollout_report(rollout, THREE, {ours: replace(held, counts=REFUSED.counts)}, MANUAL)
    assert fails.headline == (
        "wave 1 of 3 is in progress; so far, wave 1 exceeds failed_percent 0.5: 3 of 100 touched users failed (3.0 %)"
    )


@pytest.mark.parametrize("rollout", [replace(begun(), phase="waiting"), SOAKING], ids=["waiting", "soaking"])
def test_a_wave_that_exceeds_a_limit_after_it_was_judged_is_not_called_within_its_limits(rollout: Rollout) -> None:
    """Users are held hours later, as another system writes over them; a wave may wait for an operator for days."""
    later = rollout_report(rollout, THREE, {shop("a"): REFUSED}, MANUAL)
    assert later.headline.startswith("wave 1 exceeds failed_percent 0.5: 3 of 100 touched users failed (3.0 %)")
    assert later.question.startswith("Open wave 2 now, although wave 1 exceeds failed_percent 0.5")


def test_a_rollout_says_in_its_first_line_that_the_file_has_changed_since() -> None:
    edited = tuple(replace(each, target="newer") for each in THREE)
    waiting = rollout_report(replace(begun(), phase="waiting"), edited, {}, MANUAL)
    assert waiting.headline == "wave 1 of 3 is within its limits, but stores.yaml has changed since"
    aborted = rollout_report(replace(begun(), phase="aborted"), edited, {}, MANUAL)
    assert aborted.headline == "aborted at wave 1 of 3, but stores.yaml has changed since"


def test_a_finished_rollout_begins_again_where_stores_have_another_policy_by_now() -> None:
    done = open_next(LAST, THREE, now=NOW)
    assert begin(done, opened(THREE, done), actor=ADA, now=NOW) is None
    other = (*opened(THREE, done)[:2], store("c", 3, kept="older"))
    again = begin(done, other, actor=ADA, now=NOW)
    assert again is not None
    assert (again.id, again.wave, again.work) == (done.id + 1, 3, (shop("c"),))


@pytest.mark.parametrize("phase", ["rolling", "soaking", "waiting", "stopped", "aborted"])
def test_a_rollout_is_over_once_all_stores_are_in_one_wave(phase: str) -> None:
    over = end(replace(begun(), phase=phase))  # type: ignore[arg-type]  # each of them is a phase
    assert over is not None
    assert (end(over), end(None)) == (None, None)
    assert shown(begun((store("a", 1, kept="older"), *THREE[1:]), over)) == ("rolling", 1)


def test_a_store_that_was_moved_to_a_wave_which_has_begun_waits_for_the_rest_of_it() -> None:
    waiting = replace(begun(), phase="waiting")
    assert why_held_back(waiting, 1) == "the rest of wave 1 waits for `reconciler rollout continue` after wave 1"
    assert why_held_back(waiting, 2) == "wave 2 waits for `reconciler rollout continue` after wave 1"


@pytest.mark.parametrize(
    ("rollout", "question"),
    [
        (begun(), "Open wave 2 now, although wave 1 is not done?"),
        (replace(begun(), phase="waiting"), "Open wave 2 now?"),
        (replace(begun(), phase="stopped"), "Open wave 2 now, in spite of the limit?"),
        (replace(begun(), phase="aborted"), "Open wave 2 now?"),
        (LAST, "No wave is left. Finish the rollout now, although wave 3 is not done?"),
        (replace(LAST, phase="stopped"), "No wave is left. Finish the rollout now, in spite of the limit?"),
    ],
)
def test_continue_asks_for_what_it_will_do(rollout: Rollout, question: str) -> None:
    assert rollout_report(rollout, THREE, {}, MANUAL).question == question


def test_a_rollout_that_waits_or_stopped_is_one_need_of_one_store() -> None:
    assert rollout_needs(None, is_held=False) == rollout_needs(begun(), is_held=False) == {}
    assert rollout_needs(begun(), is_held=True) == {
        shop("a"): {"rollout": "the rollout waits in wave 1: reconciler rollout status"}
    }
    stopped = replace(
        begun(), phase="stopped", message="wave 1 exceeds failed_percent 0.5", current=(shop("a"), shop("b"))
    )
    assert rollout_needs(stopped, is_held=False) == {
        shop("a"): {"rollout": "the rollout stopped: wave 1 exceeds failed_percent 0.5: reconciler rollout status"}
    }
    assert list(rollout_needs(replace(begun(), phase="waiting"), is_held=False)) == [shop("a")]


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
