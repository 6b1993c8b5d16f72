"""Saved plans: someone saves a plan, the world moves, and one person or two apply the file, also during a rollout.

The verdict is written from docs/rules.md ("before each write") and docs/cli.md: a file is applied once, not after its
`--max-age`, and not after an edit of stores.yaml. Of what it wrote, each action that a plan has to show was in the file,
each value was in the row since the command began, and no one was released who had been there since then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.core.model.event import Event
from reconciler.errors import ReconcilerError
from tests.chaos.checker import Violation
from tests.chaos.people import SHOPS
from tests.chaos.shops import domain
from tests.simulation.waves import Edit

if TYPE_CHECKING:
    from tests.simulation.faults import Faults
    from tests.simulation.outside import SimApp
    from tests.simulation.person import Person
    from tests.simulation.simulation import Simulation

KIND = "saved plan"
VERDICT = "saved plan"
AGES_S = (600.0, 1800.0)  # of `--max-age`
TWO = 0.3
"""Of all saved plans, two people apply the file."""
STRIKES = ("", "", "killed", "frozen", "cut")
STRIKE_MAX_S = 90.0
NEW_KINDS = frozenset({"relink", "merge", "release"})
"""What takes no other action's place while it is executed."""
FIELDS = {
    "first_name": "first_name", "last_name": "last_name", "email": "email", "phone": "phone",
    "metafields.clerk.avatar_url": "avatar_url",
}  # fmt: skip
"""Of a change, the column that it comes from."""


@dataclass(slots=True)
class Saved:
    """A file, and what it shows. `begun`: when each process began that applied it."""

    path: Path
    at: float
    edit: Edit
    max_age_s: float
    kinds: Mapping[tuple[str, str], str]
    """The kind of each action, by shop and user."""
    is_whole: bool = True
    """Every store could be planned."""
    begun: list[float] = field(default_factory=list)


def save_and_apply(faults: Faults) -> None:
    """Save a plan, and apply it when something has changed. No one applies a plan of a table that is being reloaded."""
    saved = _save(faults)
    if saved is None:
        return
    faults.sleep(faults.lasts(60, 1.2 * saved.max_age_s / faults.simulation.size.rhythm.faults))
    while faults.applying or faults.simulation.app.reloading:
        faults.sleep(5)
    faults.applying = True
    people = [_begin(faults, saved) for _ in range(2 if faults.dice.random() < TWO else 1)]
    while any(faults.simulation.scheduler.is_at_work(person.machine) for person in people):
        faults.sleep(5)
    faults.applying = False


def _save(faults: Faults) -> Saved | None:
    simulation = faults.simulation
    if faults.applying or simulation.app.reloading:
        return None
    faults.applying = True
    person, found, edit = simulation.add_person(), [], simulation.files.edit
    path = simulation.folder / f"{person.machine.name}.plan"

    def work() -> None:
        try:
            found.append(person.save_plan(path).plan)
        except ReconcilerError as error:
            simulation.scheduler.note(f"plan failed: {type(error).__name__}")

    simulation.scheduler.spawn(person.machine, "plan", work)
    while simulation.scheduler.is_at_work(person.machine):
        faults.sleep(5)
    faults.applying = False
    if not found:
        return None
    parts = found[0].stores
    kinds: dict[tuple[str, str], str] = {(p.store, a.clerk_user_id): a.kind for p in parts for a in p.actions}
    is_whole = all(part.error is None for part in parts)
    return Saved(path, simulation.scheduler.now_s, edit, faults.dice.choice(AGES_S), kinds, is_whole)


def _begin(faults: Faults, saved: Saved) -> Person:
    """A process that applies the file, in a task of its own, and may end or wait at any moment."""
    simulation = faults.simulation
    scheduler, person, began_at = simulation.scheduler, simulation.add_person(), simulation.scheduler.now_s
    edit = simulation.files.edit

    def begins() -> None:
        simulation.luck.injected["saved plan applied"] += 1
        saved.begun.append(began_at)
        simulation.found.extend(refusal_violations(saved, began_at, edit))

    def work() -> None:
        try:
            person.apply_saved(saved.path, timedelta(seconds=saved.max_age_s), begins)
        except ReconcilerError as error:
            simulation.luck.injected["saved plan refused"] += 1
            scheduler.note(f"apply failed: {type(error).__name__}")  # its message names a folder of this process

    def judge() -> None:
        strike = faults.dice.choice(STRIKES)
        scheduler.sleep(STRIKE_MAX_S * faults.dice.random() ** 2)
        if strike == "killed" and scheduler.is_at_work(person.machine):
            scheduler.kill(person.machine)
        elif strike == "frozen":
            person.machine.frozen_until = scheduler.now_s + faults.lasts(5, 180)
        elif strike == "cut":
            person.machine.cut_until["state"] = scheduler.now_s + faults.lasts(5, 60)
        while scheduler.is_at_work(person.machine):
            scheduler.sleep(5)
        simulation.found.extend(_judged(simulation, saved, person, began_at))

    scheduler.spawn(person.machine, "apply", work)
    scheduler.spawn(simulation.outside, "judge", judge)
    return person


# --- the verdict ----------------------------------------------------------------------------------------------------------


def refusal_violations(saved: Saved, began_at: float, edit: Edit) -> Iterator[Violation]:
    """What should have kept this process from applying the file."""
    if len(saved.begun) > 1:
        yield Violation(VERDICT, saved.path.name, f"applied {len(saved.begun)} times")
    if began_at - saved.at > saved.max_age_s:
        yield Violation(
            VERDICT, saved.path.name, f"applied after {began_at - saved.at:.0f} s, {saved.max_age_s:.0f} at most"
        )
    if edit.number != saved.edit.number and saved.is_whole:
        yield Violation(VERDICT, saved.path.name, f"made before edit {edit.number}, and applied after it")


def _judged(simulation: Simulation, saved: Saved, person: Person, began_at: float) -> Iterator[Violation]:
    for run in person.runs:
        for shop in SHOPS:
            events = simulation.state.events(shop=domain(shop), run_id=run)  # type: ignore[arg-type]
            yield from event_violations(saved, simulation.app, shop, events, began_at)


def event_violations(saved: Saved, app: SimApp, shop: str, events: list[Event], began_at: float) -> Iterator[Violation]:
    """What a process wrote for this file, and should not have."""
    for event in events:
        user = event.clerk_user_id
        who, kind = f"{user} in {shop}", saved.kinds.get((shop, user))
        if kind is None or (event.kind != kind and event.kind in NEW_KINDS):
            yield Violation(VERDICT, who, f"{event.kind}, and the file has {kind or 'no action'}")
        rows = app.rows_since(user, began_at)
        if event.kind == "release" and all(_wants(row, shop) for row in rows):
            yield Violation(VERDICT, who, "released, and was there since the command began")
        for change in event.changes:
            column = FIELDS.get(change.field)
            values = {str(row[column]).casefold() for row in rows if row is not None} if column else set()
            if (
                event.kind != "release"
                and column
                and change.after is not None
                and str(change.after).casefold() not in values
            ):
                yield Violation(
                    VERDICT, who, f"{change.field}: {change.after!r}, and the row had {sorted(values)} since then"
                )


def _wants(row: dict[str, Any] | None, shop: str) -> bool:
    return row is not None and row["deleted_at"] is None and f'"{shop[5:]}": true' in (row["metadata"] or "")
