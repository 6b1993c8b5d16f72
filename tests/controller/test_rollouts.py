"""Rollouts on the state: what each kind of edit makes of one under way, with all stores and with a part, by any clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.rollouts import Rollouts
from reconciler.core.model.act import Actor
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping as Row
from reconciler.core.model.rollout import RolloutSettings, RolloutState
from reconciler.core.model.store import Store
from reconciler.errors import PlanRefused
from reconciler.state.database.engine import open_engine
from tests.inprocess import VirtualClock
from tests.state_store import StateStore
from tests.states import state_template

ADA = Actor("ada", "command")
EARLIER = {"email": "email", "first_name": "first_name"}


@dataclass(slots=True)
class Files:
    """Three stores in three waves, as in stores.yaml. Change them, then call `rollouts`."""

    state: StateStore
    clock: VirtualClock
    columns: dict[str, str] = field(default_factory=lambda: dict(EARLIER))
    limits: RolloutSettings = field(default_factory=lambda: RolloutSettings(soak_s=0))
    stores: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {name: {"wave": wave, "tags": ("old",)} for wave, name in enumerate("abc", 1)}
    )

    def edit(self, **values: Any) -> None:
        for store in self.stores.values():
            store.update(values)

    @property
    def rollouts(self) -> Rollouts[Store]:
        return Rollouts(
            stores=tuple(Store(name=StoreName(n), shop=shop(n), **values) for n, values in self.stores.items()),
            limits=self.limits,
            columns=self.columns,
            book=self.state,
            mappings=self.state,
            scans=self.state,
            pauses=self.state,
            clock=self.clock,
            column_problem=lambda _columns: "",
        )

    def apply(self) -> str:
        """One wave, as `apply` does it: opened, written, and judged."""
        opened = self.rollouts.advance(ADA)
        self.clock.sleep(1)
        self.rollouts.note_synced([shop(name) for name in self.stores], since=self.clock.now())
        return shown(self.rollouts.advance(ADA, may_begin=False, may_open=False), opened)


def shop(name: str) -> ShopDomain:
    return ShopDomain(f"{name}.myshopify.com")


def shown(state: RolloutState, opened: RolloutState) -> str:
    """Which rollout, its phase, and the stores that it opened in this step."""
    assert state.rollout is not None
    assert opened.rollout is not None
    names = ", ".join(each.partition(".")[0] for each in opened.rollout.current)
    return f"{state.rollout.id} {state.rollout.phase} after {names}"


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    """A change of tags is done in the first wave, and waits for an operator."""
    path = tmp_path / "state.db"
    path.write_bytes(state_template())
    engine = open_engine(f"sqlite:///{path}")
    found = Files(StateStore(engine), VirtualClock())
    found.rollouts.keep()
    found.edit(tags=("new",))
    assert found.apply() == "1 waiting after a"
    yield found
    engine.dispose()


def remove(name: str) -> Callable[[Files], object]:
    return lambda files: files.stores.pop(name)


def of(name: str, **values: Any) -> Callable[[Files], None]:
    return lambda files: files.stores[name].update(values)


def everywhere(**values: Any) -> Callable[[Files], None]:
    return lambda files: files.edit(**values)


def limits(**values: Any) -> Callable[[Files], None]:
    return lambda files: setattr(files, "limits", RolloutSettings(soak_s=0, **values))


def columns(files: Files) -> None:
    files.columns["first_name"] = "given_name"


@pytest.mark.each_row
@pytest.mark.parametrize(
    ("edit", "then"),
    [
        # What is no policy changes nothing of a rollout.
        (lambda _files: None, "1 waiting after a"),
        (limits(failed_percent=5, pause="auto"), "1 waiting after a"),
        (everywhere(paused=True, roll_out="hold", heal_drift="hold"), "1 waiting after a"),
        (of("c", wave=1), "1 waiting after a"),
        (of("a", wave=3), "1 waiting after a"),
        # Another policy, of one store or of all, begins at wave one; what had been reached is judged there again.
        (everywhere(where={"locale": "en"}), "2 waiting after a"),
        (everywhere(consent={"email": {"from": "metadata.news"}}), "2 waiting after a"),
        (columns, "2 waiting after a"),
        (of("c", on_leave="tag"), "2 waiting after a"),
        (lambda files: files.stores.update(d={"wave": 2, "tags": ("new",)}), "2 waiting after a"),
        (everywhere(tags=("old",)), "2 finished after a"),  # back: only what had been reached has something to do
        # With a part of the stores nothing begins, and nothing continues.
        (remove("a"), "1 waiting after a"),
        (remove("c"), "1 waiting after a"),
        (lambda files: (files.stores.pop("a"), files.edit(tags=("newer",))), "1 waiting after a"),
    ],
)
def test_an_edit_during_a_rollout_opens_no_later_wave(files: Files, edit: Callable[[Files], object], then: str) -> None:
    edit(files)
    assert files.apply() == then


def test_an_operator_ends_a_rollout_in_shops_that_the_files_lack_and_another_one_begins(files: Files) -> None:
    files.stores.pop("a")
    with pytest.raises(PlanRefused, match="has changed since this rollout began") as refused:
        files.rollouts.resume(ADA)
    assert "lacks a.myshopify.com" in refused.value.hint
    assert files.rollouts.is_blocked(files.rollouts.read())
    assert not files.rollouts.is_due(ADA)
    files.rollouts.abort(ADA)
    assert not files.rollouts.is_blocked(files.rollouts.read())
    assert files.apply() == "2 waiting after b"


def test_a_rollout_is_of_the_files_that_it_leads_to(files: Files) -> None:
    assert files.rollouts.is_ours(files.rollouts.read())
    assert not files.rollouts.is_due(ADA)
    files.edit(tags=("old",))
    assert not files.rollouts.is_ours(files.rollouts.read())
    assert files.rollouts.is_due(ADA)


def test_a_clock_that_is_set_back_hides_no_failure_and_counts_no_earlier_pass(files: Files) -> None:
    files.stores["a"]["tags"] = ("newer",)
    files.rollouts.advance(ADA)
    files.rollouts.note_synced([shop("a")], since=files.clock.now())
    files.clock.sleep(-3600)
    rolling = files.rollouts.advance(ADA)
    assert rolling.rollout is not None
    assert rolling.rollout.opened_at == files.clock.now()
    assert files.rollouts.unsynced(rolling) == ["a"], "the pass has a time that has not come yet"
    failed = Row(
        clerk_user_id=ClerkUserId("user_1"), shop=shop("a"), store=StoreName("a"), status="pending", reason="Failed",
        reason_since=files.clock.now(),
    )  # fmt: skip
    files.state.put(failed)
    assert files.apply() == "2 stopped after a"


def test_the_waves_that_an_operator_did_not_wait_for_show_what_they_did(files: Files) -> None:
    def counts() -> Mapping[int, int]:
        rollout = files.rollouts.read().rollout
        assert rollout is not None
        return {wave: each.failed for wave, each in rollout.waves.items()}

    failed = Row(
        clerk_user_id=ClerkUserId("user_1"), shop=shop("b"), store=StoreName("b"), status="pending", reason="Failed",
        reason_since=files.clock.now(),
    )  # fmt: skip
    files.rollouts.resume(ADA)
    files.state.put(failed)
    report = files.rollouts.report(files.rollouts.read())
    assert report.message == "wave 2 exceeds failed_percent 0.5: 1 of 1 touched users failed (100.0 %)"
    files.rollouts.resume(ADA)
    assert counts() == {1: 0, 2: 1}
    files.rollouts.abort(ADA)
    assert counts() == {1: 0, 2: 1, 3: 0}
