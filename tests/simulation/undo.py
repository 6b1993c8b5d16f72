"""`undo` beside the replicas: someone takes back what was written of late in one shop, and corrects the cause later.

The verdict is written from docs/operations.md, "Wrong values were written". A customer is deleted only if we created it, and
staff have not touched it since. What was taken back of a paused shop stays so, also after the shop was resumed, as long as
the row is the same. The correction is another tag in stores.yaml, and other values in the rows of the users concerned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.controller.scan.plan import Planned
from reconciler.controller.step import Outcome
from reconciler.core.model.act import Actor
from reconciler.core.model.action import Action
from reconciler.core.model.ids import StoreName
from reconciler.errors import ReconcilerError
from tests.chaos.checker import Customer, Life, Violation
from tests.chaos.people import SHOPS, User
from tests.chaos.shops import domain
from tests.simulation.outside import deliver

if TYPE_CHECKING:
    from tests.simulation.faults import Faults
    from tests.simulation.person import Person
    from tests.simulation.simulation import Simulation

KIND = "undo"
OPERATOR = Actor("operator", "console")
PAUSED = 0.6
KILLED = 0.2
SETTLES_S = 60.0  # so long after a pause what was under way has ended
VISIBLE_S = 61.0  # a later change by staff, of which nothing is seen but its time, is one of theirs
FIELDS = {
    "first_name": "first",
    "last_name": "last",
    "email": "email",
    "phone": "phone",
    "metafields.clerk.avatar_url": "avatar",
}


@dataclass(slots=True)
class Undone:
    """What one `undo` does. `since_s`: it takes back what was written since then; `at`: when it began to write."""

    shop: str
    since_s: float
    at: float = 0.0
    actions: list[Action] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def users(self) -> list[str]:
        return sorted({action.clerk_user_id for action in self.actions})


def undo(faults: Faults) -> None:
    simulation, dice = faults.simulation, faults.dice
    if faults.applying or simulation.app.reloading:
        return
    faults.applying = True
    shop = dice.choice(SHOPS)
    paused = dice.random() < PAUSED and _tell(simulation, shop, paused=True)
    faults.sleep(SETTLES_S)
    undone = Undone(shop, simulation.scheduler.now_s - SETTLES_S - faults.lasts(60, 900))
    person = _begin(simulation, undone)
    if dice.random() < KILLED:
        faults.sleep(30.0 * dice.random())
        if simulation.scheduler.is_at_work(person.machine):
            simulation.scheduler.kill(person.machine)
    while simulation.scheduler.is_at_work(person.machine):
        faults.sleep(5)
    _tell(simulation, shop, paused=False)
    done = [outcome.action for outcome in undone.outcomes if outcome.result == "applied"]
    simulation.half_undone |= {
        (undone.shop, action.customer_id or "") for action in undone.actions if action not in done
    }
    faults.sleep(faults.lasts(120, 900))
    if paused:
        simulation.found += stay_violations(simulation, undone)
    _correct(simulation, undone)
    faults.applying = False


def _tell(simulation: Simulation, shop: str, *, paused: bool) -> bool:
    name = StoreName(shop)
    return deliver(
        simulation.scheduler, simulation.anyone, "pause",
        lambda service: service.pause(name, OPERATOR) if paused else service.resume(name, OPERATOR),
    )  # fmt: skip


def resume(simulation: Simulation) -> None:
    """In the calm: an operator resumes what is paused, as a pause may have been accepted late."""
    for shop in SHOPS:
        while not _tell(simulation, shop, paused=False):
            simulation.scheduler.sleep(5)


def _begin(simulation: Simulation, undone: Undone) -> Person:
    scheduler, person = simulation.scheduler, simulation.add_person()

    def begins(planned: Planned) -> None:
        undone.at, undone.actions = scheduler.now_s, [a for part in planned.plan.stores for a in part.actions]
        simulation.luck.injected["undo of an action"] += len(undone.actions)
        simulation.found.extend(deletion_violations(simulation, undone))
        for user in (simulation.population.users[name] for name in undone.users):
            user.moved_at = scheduler.now_s
            user.story.append(f"{scheduler.now_s - simulation.stream.began_at:.1f} s undone in {undone.shop}")

    def work() -> None:
        try:
            store = person.stores()[undone.shop]
            person.undo(store, datetime.fromtimestamp(undone.since_s, UTC), begins, undone.outcomes)
        except ReconcilerError as error:
            scheduler.note(f"undo failed: {type(error).__name__}")

    scheduler.spawn(person.machine, "undo", work)
    return person


def _correct(simulation: Simulation, undone: Undone) -> None:
    """Ask for another tag, and give the users other values. Who has left meanwhile does not come back."""
    files, population, now_s = simulation.files, simulation.population, simulation.scheduler.now_s
    if not undone.actions:
        return
    files.edits.append(replace(files.edit, number=files.edit.number + 1, at=now_s))
    population.wave = files.edit.number
    current = {user.id for user in population.current()}
    for name in undone.users:
        user = population.users[name]
        simulation.undone.add((name, undone.shop))
        if name not in current:
            user.succeeded = True
            continue
        fields = {c.field for a in undone.actions if a.clerk_user_id == name for c in a.changes}
        with_email = not fields.isdisjoint({"email", "backlink", "customer"}) and not user.keeps_email
        simulation.stream.correct(user, email=with_email, phone="phone" in fields and user.phone is not None)


# --- the verdict ----------------------------------------------------------------------------------------------------------


def deletion_violations(simulation: Simulation, undone: Undone) -> Iterator[Violation]:
    """Customers that this plan deletes, and should not. From here on they count as deleted by staff."""
    for action in undone.actions:
        if action.kind != "release":
            continue
        key = (undone.shop, action.customer_id or "")
        events = simulation.state.events(user=action.clerk_user_id, shop=domain(undone.shop))  # type: ignore[arg-type]
        written = [event.at.timestamp() for event in events if event.customer_id == action.customer_id]
        yield from wrong_deletions(
            action.clerk_user_id, simulation.shops.lives[key], simulation.shops.touched.get(key, 0.0),
            max(written, default=0.0),
        )  # fmt: skip
        simulation.population.staff_deleted.add(key)


def wrong_deletions(user: str, life: Life, touched_at: float, written_at: float) -> Iterator[Violation]:
    """`touched_at`: when staff or the customer changed it last; `written_at`: when we did."""
    who = f"{user} in {life.shop}"
    if life.steps[0][1] != user:
        yield Violation(KIND, who, f"deletes {life.id}, which was not created for this user")
    if touched_at > written_at + VISIBLE_S:
        yield Violation(
            KIND, who, f"deletes {life.id}, which was changed in Shopify {touched_at - written_at:.0f} s later"
        )


def stay_violations(simulation: Simulation, undone: Undone) -> Iterator[Violation]:
    """What was taken back, and is written again although the row is the same."""
    shops, app = simulation.shops, simulation.app
    for action in (outcome.action for outcome in undone.outcomes if outcome.result == "applied"):
        user = simulation.population.users[action.clerk_user_id]
        key = (undone.shop, action.customer_id or "")
        moved = len(app.rows_since(user.id, undone.at)) > 1 or shops.touched.get(key, 0.0) > undone.at
        if not moved and user.wanted(undone.shop) and not simulation.population.respelt:
            customer = shops.find(*key)
            yield from written_again(user, action, customer, shops.owned_by(undone.shop, user.id))


def written_again(user: User, action: Action, customer: Customer | None, owned: Customer | None) -> Iterator[Violation]:
    """`customer`: that of the action; `owned`: that which the user has now."""
    who = f"{user.id} in {owned.shop if owned else customer.shop if customer else ''}"
    lost = action.kind == "release" or any(c.field == "backlink" and c.after is None for c in action.changes)
    if lost and owned is not None and owned.id == action.customer_id:
        yield Violation(KIND, who, f"has {owned.id} again")
    elif lost and owned is not None:
        yield Violation(KIND, who, f"got {owned.id} after {action.customer_id} was taken back")
    for change in action.changes if customer is not None else ():
        name = FIELDS.get(change.field)
        value = getattr(customer, name) if name is not None else change.after
        if value != change.after:
            yield Violation(KIND, who, f"{change.field}: {value!r} again, after {change.after!r} was restored")
