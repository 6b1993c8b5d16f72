"""Between an action's calls and the lines of a file: what may go by bulk, which write comes next, what an answer means.

A user's next write is kept in the state (ports.BulkLine) from the moment it is decided on until it is answered; everything
else is made from it, from the row and from the mapping again, so that whoever takes a killed run over needs no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from typing import Any

from reconciler.controller.act import Call, Step, calls_of, has_moved
from reconciler.controller.context import StoreContext
from reconciler.controller.joint_metafields import packed
from reconciler.controller.scan import named
from reconciler.core.decide.written import as_written
from reconciler.core.fields.desired import is_wanted, profile_digest, spec_of
from reconciler.core.model.action import Action
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.spec import Spec
from reconciler.core.model.view import Decision, Subject
from reconciler.core.plan.forecast import BULK_KINDS, forecast
from reconciler.ports import NOTHING_SHOWN, BulkLine, Created, Shown, Write


def riding(
    actions: Collection[Action], context: StoreContext, *, but: Container[ClerkUserId]
) -> Callable[[Action], bool] | None:
    """Which of a plan's actions should go by bulk; None where there is none, or that is not worth it.

    Creates and updates only, and of those none that waits for another user's address or is waited for (`but`): lines run
    in no order. Nor one that takes a customer over: its back-link is written only where there is none, which no line can
    say.
    """
    if context.bulk is None:
        return None

    def rides(action: Action) -> bool:
        return _may_ride(action) and action.clerk_user_id not in but

    if context.bulk.always:
        return rides if any(map(rides, actions)) else None
    worth = forecast(filter(rides, actions), context.readers.customers.restore_rate()).bulk_worth_it
    return rides if worth else None


def _may_ride(action: Action) -> bool:
    if action.kind not in BULK_KINDS or action.waits_for or action.park:
        return False
    return action.kind == "create" or all(c.field != "backlink" for c in action.changes)


class _Recorder:
    """ports.CustomerWriter as far as lines can say it: keeps the write instead of sending it."""

    def __init__(self) -> None:
        self.last: Write | None = None

    def create(self, user: ClerkUserId, fields: MappingOf[str, Any]) -> Created:
        self.last = Write("create", user, dict(fields))
        return Created(CustomerId(""))

    def update(self, customer: CustomerId, fields: MappingOf[str, Any]) -> Shown:
        self.last = Write("update", customer, dict(fields))
        return NOTHING_SHOWN

    def add_tags(self, customer: CustomerId, tags: Sequence[str]) -> Shown:
        self.last = Write("add_tags", customer, tuple(tags))
        return NOTHING_SHOWN

    def remove_tags(self, customer: CustomerId, tags: Sequence[str]) -> None:
        self.last = Write("remove_tags", customer, tuple(tags))

    def set_metafields(self, customer: CustomerId, values: MappingOf[str, tuple[str, str]]) -> Shown:
        self.last = Write("set_metafields", customer, dict(values))
        return NOTHING_SHOWN

    def set_metafields_of(
        self, values: MappingOf[CustomerId, MappingOf[str, tuple[str, str]]]
    ) -> MappingOf[CustomerId, Shown]:
        raise _unsayable("metafields of several customers", values)

    def delete_metafields(self, customer: CustomerId, names: Sequence[str]) -> None:
        self.last = Write("delete_metafields", customer, tuple(names))

    def link(self, customer: CustomerId, user: ClerkUserId) -> None:
        raise _unsayable("a back-link", customer, user)

    def unlink(self, customer: CustomerId) -> None:
        raise _unsayable("a back-link", customer)

    def merge(self, one: CustomerId, other: CustomerId, *, keep_email_of: CustomerId) -> CustomerId:
        raise _unsayable("a merge", one, other, keep_email_of)

    def delete(self, customer: CustomerId) -> None:
        raise _unsayable("a deletion", customer)

    def request_erasure(self, customer: CustomerId) -> None:
        raise _unsayable("an erasure", customer)


def _unsayable(what: str, *of: object) -> AssertionError:
    return AssertionError(f"{what} was let into a file, where riding() keeps it out: {of}")


@dataclass(slots=True)
class Ride:
    """A line with the step it belongs to, as things stand now, and all calls of its action.

    `moved_to`: the digest of her row, where it is not the one that the line rests on; None where it is.
    """

    line: BulkLine
    step: Step
    calls: Sequence[Call]
    moved_to: str | None = None

    @property
    def call(self) -> Call:
        return self.calls[self.line.position]

    @property
    def is_last(self) -> bool:
        return self.line.position == len(self.calls) - 1


class Rides:
    """Makes lines of steps, steps of lines, and writes of both. Sends nothing."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self._recorder = _Recorder()
        self._recording = replace(context, writer=self._recorder)

    def may_ride(self, step: Step) -> bool:
        """Whether there is something to be done by this step that lines can say."""
        return step.decision.action is not None and _may_ride(step.action) and bool(step.action.changes)

    def first(self, step: Step, *, tries: int = 0, plan_digest: str | None = None) -> BulkLine:
        """The line of a step that begins."""
        decision = step.decision.model_copy(update={"action": step.action})
        line = BulkLine(
            user=step.subject.user,
            rides_in="",
            decision=decision.model_dump_json(exclude={"spec"}, exclude_defaults=True),
            plan_digest=self._context.plan_digest if plan_digest is None else plan_digest,
            tries=tries,
        )
        return self._placed(line, step, list(calls_of(step, self._recording)))

    def following(self, ride: Ride) -> BulkLine:
        """The line of the next call; the one before it was done on `ride.step.at`."""
        line = replace(
            ride.line, position=ride.line.position + 1, customer=ride.step.at, tries=0, file=None, number=None
        )
        return self._placed(line, ride.step, ride.calls)

    def writes(self, rides_in: str, lines: Iterable[BulkLine]) -> Iterator[list[tuple[BulkLine, Write]]]:
        """What stands on each line of a file that takes these, made as it is asked for; customers share metafield lines."""
        pairs = ((line, self._write(self._bare(line))) for line in lines)
        if rides_in == "set_metafields":
            return packed(pairs, lambda pair: len(pair[1].values))
        return ([pair] for pair in pairs)

    def of(self, lines: Sequence[BulkLine]) -> list[Ride]:
        """The lines with rows and mappings as they are now."""
        context = self._context
        subjects = {s.user: s for s in named([line.user for line in lines], context.store, context.readers)}
        return [self._ride(line, subjects[line.user]) for line in lines]

    def _ride(self, line: BulkLine, subject: Subject) -> Ride:
        ride = self._bare(line)
        moved_to = profile_digest(subject.profile) if has_moved(ride.step.action, subject) else None
        spec = self._spec(ride.step.action, subject, moved=moved_to is not None)
        step = Step(ride.step.action, subject, ride.step.decision.model_copy(update={"spec": spec}))
        step.at = ride.step.at
        step.written = [change for call in ride.calls[: line.position] for change in call.covers]
        return Ride(line, step, list(calls_of(step, self._recording)), moved_to)

    def _spec(self, action: Action, subject: Subject, *, moved: bool) -> Spec | None:
        """What the row wants, or, where it has moved since, what it wanted of the fields that are written."""
        store, profile = self._context.store, subject.profile
        if profile is None or not is_wanted(profile, store):
            return None
        spec = spec_of(profile, store)
        return as_written(spec, action.changes) if moved else spec

    def _bare(self, line: BulkLine) -> Ride:
        """Enough to know the write: neither row nor mapping is asked for."""
        decision = Decision.model_validate_json(line.decision)
        assert decision.action is not None
        step = Step(decision.action, Subject(line.user, None, None), decision)
        step.at = line.customer or step.at
        return Ride(line, step, list(calls_of(step, self._recording)))

    def _placed(self, line: BulkLine, step: Step, calls: Sequence[Call]) -> BulkLine:
        return replace(line, rides_in=self._write(Ride(line, step, calls)).rides_in)

    def _write(self, ride: Ride) -> Write:
        ride.call.do()
        write = self._recorder.last
        assert write is not None
        return write
