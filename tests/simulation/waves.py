"""stores.yaml as it is edited while replicas run, the operator of its rollouts, and the verdict on their waves.

The shop that keeps is wave 1, the one that deletes wave 2. Each edit asks for another tag, `wave-N`; a bad one asks for a
metafield, too, that Shopify takes for no one. The verdict is written from docs/tasks/roll-out-a-mapping-change.md: wave 2
begins when an operator says so; or, with `pause: auto`, `soak_s` after all of wave 1 was done, if it has not failed.

Left out, by rule: shops that respell tags; some faults (`ALONE`); users who are not there, with the same customer, from
before the edit on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from reconciler.core.model.act import Actor
from reconciler.settings import Loaded, load
from tests.chaos.checker import Violation
from tests.chaos.people import EU, SHOPS, US, Population
from tests.chaos.policy import stores_text
from tests.chaos.shops import GID, Shops
from tests.simulation.outside import COLUMNS, deliver
from tests.simulation.reloads import RELEASE_PERCENT
from tests.simulation.sizes import Rhythm

if TYPE_CHECKING:
    from tests.simulation.faults import Faults
    from tests.simulation.simulation import Simulation

WORKERS = 3
ALONE = (
    "apply", "bulk apply", "undo", "redaction", "clock moved", "profiles away", "table reloaded", "table away",
    "table swapped", "table empty", "most rows missing", "most rows unfilled", "some rows unfilled",
)  # fmt: skip
"""Faults that do not come in runs with rollouts: a user without a row is not judged, and an early clock ends a soak."""
KIND = "wave"
JUST_BACK_S = 120.0
BAD = 0.3
"""Of all edits."""
OPERATOR = Actor("operator", "console")


@dataclass(frozen=True, slots=True)
class Edit:
    """One version of stores.yaml. `number`: its tag; `bad`: Shopify refuses what it asks for; `erases`: by `on_leave`."""

    number: int = 0
    waves: bool = False
    erases: bool = False
    bad: bool = False
    at: float = 0.0


@cache
def read_settings(rhythm: Rhythm, edit: Edit, auto: bool) -> Loaded:  # noqa: FBT001
    """The settings of every replica, read once a process and version."""
    with TemporaryDirectory() as folder:
        config, stores = Path(folder) / "reconciler.yaml", Path(folder) / "stores.yaml"
        settings = {
            "version": 1,
            "state": {"url": "sqlite:///state.db"},
            "profiles": {
                "url": "sqlite:///profiles.db", "table": "customers",
                "columns": {**{n: n for n in COLUMNS if n != "avatar_url"}, "image_url": "avatar_url"},
            },
            "controller": {"workers": WORKERS, "resync_s": rhythm.resync_s, "absence_grace_s": rhythm.grace_s},
        }  # fmt: skip
        config.write_text(json.dumps(settings))
        stores.write_text(_text(rhythm, edit, auto=auto))
        return load(config, stores, {})


def _text(rhythm: Rhythm, edit: Edit, *, auto: bool) -> str:
    leave = "erase" if edit.erases else "keep"
    text = stores_text(edit.number, {}, release_percent=RELEASE_PERCENT, leave_eu=leave)
    if edit.waves:
        text += f"rollout: {{soak_s: {rhythm.soak_s:g}, held_percent: 0, pause: {'auto' if auto else 'manual'}}}\n"
        for wave, shop in enumerate((EU, US), start=1):
            text = text.replace(f"  - name: {shop}\n", f"  - name: {shop}\n    wave: {wave}\n")
    if edit.bad:
        text = text.replace("  metafields: {", "  metafields: {clerk.bad: {from: last_name, type: number_integer}, ")
    return text


@dataclass(slots=True)
class Files:
    """The files that all replicas read, what was edited and continued, and when each customer got the tag of an edit."""

    rhythm: Rhythm
    auto: bool = False
    """The next wave begins by itself."""
    edits: list[Edit] = field(default_factory=lambda: [Edit()])
    continued: list[tuple[float, int]] = field(default_factory=list)
    """When an operator opened the next wave, and of which edit."""
    tagged: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    """When a customer was seen first with the tag of an edit, by shop and customer."""

    @property
    def edit(self) -> Edit:
        return self.edits[-1]

    def read(self) -> Loaded:
        return read_settings(self.rhythm, self.edit, self.auto)

    def look(self, shops: Shops, now: float) -> None:
        if not self.edit.waves:
            return
        for shop in SHOPS:
            for record in shops.sim(shop).shop.people:
                for tag in record.tags:
                    if tag.startswith("wave-"):
                        times = self.tagged.setdefault((shop, GID + str(record.number)), {})
                        times.setdefault(int(tag.removeprefix("wave-")), now)


# --- people -------------------------------------------------------------------------------------------------------------


def edit(faults: Faults) -> None:
    """Someone edits stores.yaml. The first edit makes the waves, as the guide says, and the next one changes the policy."""
    simulation = faults.simulation
    files, scheduler = simulation.files, simulation.scheduler
    if not files.edit.waves:
        files.edits.append(Edit(waves=True, at=scheduler.now_s))
        faults.sleep(faults.lasts(120, 300))
    _change(simulation, bad=faults.dice.random() < BAD)
    faults.sleep(faults.lasts(300, 1500))


def _change(simulation: Simulation, *, bad: bool) -> None:
    files = simulation.files
    number = files.edit.number + 1
    files.edits.append(Edit(number, waves=True, bad=bad, at=simulation.scheduler.now_s))
    simulation.population.wave = number


def operate(simulation: Simulation) -> None:
    """An operator looks at the rollout, and lets it continue or ends it. In the calm all ends well."""
    scheduler, files, dice = simulation.scheduler, simulation.files, simulation.scheduler.dice
    while True:
        scheduler.sleep(files.rhythm.soak_s * (0.2 + dice.random()))
        if not files.edit.waves:
            continue
        if simulation.storm_over and files.edit.bad:
            _change(simulation, bad=False)
            continue
        rollout = simulation.state.rollout_state().rollout
        patient = not simulation.storm_over and dice.random() < 0.4
        if rollout is None or patient or rollout.phase not in {"waiting", "stopped", "aborted", "soaking"}:
            continue
        if rollout.phase == "soaking" and dice.random() < 0.9:  # few operators know better
            continue
        step, number = rollout.step, files.edit.number
        if not simulation.storm_over and rollout.phase != "aborted" and dice.random() < 0.2:
            simulation.luck.injected["rollout aborted"] += 1
            deliver(scheduler, simulation.anyone, "abort", lambda s: s.abort_rollout(OPERATOR))
            continue
        simulation.luck.injected[f"rollout continued, {rollout.phase}"] += 1
        files.continued.append((scheduler.now_s, number))
        deliver(scheduler, simulation.anyone, "go", lambda s, step=step: s.continue_rollout(OPERATOR, seen=step))  # type: ignore[misc]


# --- the verdict ----------------------------------------------------------------------------------------------------------


def wave_violations(population: Population, shops: Shops, files: Files) -> Iterator[Violation]:
    """Customers of wave 2 that had the tag of an edit before wave 2 could begin.

    A bad edit fails by users who are newly held: not after another bad edit, which holds them already.
    """
    for before, each in pairwise(files.edits) if not population.respelt else ():
        times = [tags[each.number] for (shop, _), tags in files.tagged.items() if shop == US and each.number in tags]
        first = min(times, default=None)
        said = any(number == each.number and at <= (first or 0.0) for at, number in files.continued)
        if first is None or not each.number or said:
            continue
        done = list(_done(population, shops, files, each, first))
        passed_s = first - max(done, default=0.0)
        if not files.auto:
            yield Violation(KIND, US, f"has wave-{each.number}, and no operator has said so")
        elif each.bad and not before.bad and done:
            yield Violation(KIND, US, f"has wave-{each.number}, which failed in {EU}")
        elif passed_s < files.rhythm.soak_s:
            yield Violation(KIND, US, f"has wave-{each.number} {passed_s:.0f} s after {EU} was done")


def _done(population: Population, shops: Shops, files: Files, edit: Edit, until: float) -> Iterator[float]:
    """When each customer of wave 1, who was there all the time, got the tag of this edit or of a later one."""
    for (shop, customer), life in shops.lives.items():
        before = [owner for at, owner, _ in life.steps if at <= edit.at]
        owners = {owner for at, owner, _ in life.steps if edit.at < at <= until} | set(before[-1:])
        user = population.users.get(next(iter(owners)) or "") if len(owners) == 1 and before else None
        is_staffs = (shop, customer) in population.staff_merged | population.staff_deleted
        is_gone = life.gone_at is not None and life.gone_at <= until
        if shop != EU or user is None or is_staffs or is_gone:
            continue
        if any(since <= until and (back is None or back >= edit.at - JUST_BACK_S) for since, back in user.away[EU]):
            continue
        tags = files.tagged.get((shop, customer), {})
        yield min((at for number, at in tags.items() if number >= edit.number), default=inf)
