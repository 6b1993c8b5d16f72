"""Applies by bulk operations beside the replicas, and what goes wrong between their stages.

A person who applies may be killed, frozen or cut off at any moment; a second one may begin beside the first. The shop ends
operations early, refuses to run them, forgets them, or loses their files. What a killed process left is resumed by the next
`apply` by bulk, at the latest in the calm, as the warning `bulk_abandoned` of `run` asks for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError
from reconciler.simulator.faults import FaultKind
from tests.chaos.people import SHOPS
from tests.chaos.shops import Shops, domain

if TYPE_CHECKING:
    from tests.simulation.faults import Faults
    from tests.simulation.person import Person
    from tests.simulation.simulation import Simulation

KIND = "bulk apply"
ROWS_PER_S = (0.05, 0.5, 5.0)
"""Lines that a shop runs in a second: of few lines, an operation is to last for a while."""
STRIKES = ("", "killed", "killed", "frozen", "cut")
STRIKE_MAX_S = 240.0
TWO = 0.2
"""Of all applies, a second person begins one as well."""
MAINTENANCE = 0.7
"""Before so many, all replicas are stopped, and stores.yaml asks for another tag: the plan has all users."""
AWAY_MAX_S = 300.0
CALLS = (
    "stagedUploadsCreate", "stagedUpload", "bulkOperationRunMutation", "bulkOperations", "bulkOperation", "node",
    "bulkResult",
)  # fmt: skip
LOST: tuple[FaultKind, ...] = ("lost_before", "lost_after", "truncated", "internal_error", "html")
ENDS = (("FAILED", "INTERNAL_SERVER_ERROR"), ("FAILED", "TIMEOUT"), ("FAILED", "ACCESS_DENIED"), ("CANCELED", None))


def set_pace(shops: Shops, rows_per_s: float) -> None:
    for shop in SHOPS:
        shops.sim(shop).shop.bulk_rows_per_s = rows_per_s


def apply(faults: Faults) -> None:
    """One person, or two beside each other, apply by bulk, while the shops' operations go wrong."""
    simulation, dice = faults.simulation, faults.dice
    if faults.applying or simulation.app.reloading:
        return
    faults.applying = True
    set_pace(simulation.shops, dice.choice(ROWS_PER_S))
    stopped = _stop_all(faults) if dice.random() < MAINTENANCE else 0
    people = [begin(simulation) for _ in range(2 if dice.random() < TWO else 1)]
    for person in people:
        simulation.scheduler.spawn(simulation.outside, "strike", lambda person=person: _strike(faults, person))  # type: ignore[misc]
    for _ in range(dice.choice((0, 1, 1, 2))):
        faults.sleep(60.0 * dice.random())
        _break(faults)
    for _ in range(stopped):
        simulation.add_replica()
        faults.sleep(60.0 * dice.random())
    while any(simulation.scheduler.is_at_work(person.machine) for person in people):
        faults.sleep(5)
    for shop in SHOPS:
        simulation.shops.sim(shop).faults.clear()
    set_pace(simulation.shops, max(ROWS_PER_S))
    faults.applying = False


def _stop_all(faults: Faults) -> int:
    """Stop all replicas for a while, and edit stores.yaml meanwhile; return how many there were."""
    simulation, files = faults.simulation, faults.simulation.files
    running = list(simulation.replicas)
    for replica in running:
        simulation.drop(replica)
    if not files.edit.waves:
        files.edits.append(replace(files.edit, number=files.edit.number + 1, at=simulation.scheduler.now_s))
        simulation.population.wave = files.edit.number
    faults.sleep(AWAY_MAX_S * faults.dice.random())
    return len(running)


def begin(simulation: Simulation) -> Person:
    """A person who applies by bulk, in a task of their own."""
    person = simulation.add_person(by_bulk=True)

    def work() -> None:
        try:
            person.apply()
        except ReconcilerError as error:
            simulation.scheduler.note(f"apply failed: {type(error).__name__}")

    simulation.scheduler.spawn(person.machine, "apply", work)
    return person


def _strike(faults: Faults, person: Person) -> None:
    """What happens to the process at some moment of its work."""
    scheduler, dice, machine = faults.simulation.scheduler, faults.dice, person.machine
    what = dice.choice(STRIKES)
    faults.sleep(STRIKE_MAX_S * dice.random() ** 2)
    if not what or not scheduler.is_at_work(machine):
        return
    faults.simulation.luck.injected[f"bulk apply {what}"] += 1
    seconds = faults.lasts(5, 180)
    if what == "killed":
        scheduler.kill(machine)
    elif what == "frozen":
        machine.frozen_until = scheduler.now_s + seconds
    else:
        machine.cut_until["state"] = scheduler.now_s + seconds


def _break(faults: Faults) -> None:
    """Something of the shop's part of bulk operations goes wrong."""
    simulation, dice = faults.simulation, faults.dice
    sim = simulation.shops.sim(dice.choice(SHOPS))
    what = dice.choice(("ends early", "call lost", "call lost", "result expired", "forgotten"))
    simulation.luck.injected[f"bulk: {what}"] += 1
    with sim.lock:
        if what == "ends early":
            status, code = dice.choice(ENDS)
            sim.shop.staff_bulk_fault(status, code, after_rows=dice.choice((0, 1, 3)))
        elif what == "call lost":
            sim.faults.add(dice.choice(LOST), on=dice.choice(CALLS), times=dice.choice((1, 2, 12)))
        elif what == "result expired":
            for operation in sim.shop.operations.values():
                if operation.completed_at is not None:
                    operation.status = "EXPIRED"
        else:
            sim.shop.operations.clear()


def resume(simulation: Simulation) -> None:
    """In the calm: an operator applies by bulk, where a process left operations behind."""
    state = simulation.state
    if any(state.bulk_files(domain(shop)) or state.bulk_waiting(domain(shop)) for shop in SHOPS):  # type: ignore[arg-type]
        begin(simulation)
