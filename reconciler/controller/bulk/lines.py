"""Between an action's calls and the lines of a file: what may go by bulk, which write comes next, what an answer means.

A user's next write is kept in the state (ports.BulkLine) from the moment it is decided on until it is answered. A run that
resumes a killed one needs no more: everything else is made from it, from the row and from the mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from reconciler.controller.apply.joint_metafields import groups_of
from reconciler.controller.context import StoreContext
from reconciler.controller.execute import with_customer, writes_left
from reconciler.controller.observe import subjects_of
from reconciler.controller.step import PlannedWrite, Step
from reconciler.core.decide.consent import has_consent
from reconciler.core.decide.written import as_written
from reconciler.core.fields.desired import is_wanted, spec_of, used_digest
from reconciler.core.model.action import Action
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.json import adapter_of
from reconciler.core.model.spec import Spec
from reconciler.core.model.view import Decision, Subject
from reconciler.core.model.write import SetMetafields, Write
from reconciler.core.plan.forecast import BULK_KINDS, forecast
from reconciler.ports import FILE_KINDS, METAFIELDS_MAX, BulkLine

_DECISIONS = adapter_of(Decision)


def select_for_bulk(
    actions: Collection[Action], restore_rate: float, *, always: bool, but: Container[ClerkUserId]
) -> Callable[[Action], bool] | None:
    """Which of a plan's actions should go by bulk; None where there is none, or that is not worth it.

    Creates and updates only, and of those none that waits for another user's address or is waited for (`but`): lines run
    in no order. Nor one that takes a customer over: its back-link is written only where there is none, which no line can
    say. Nor one that writes a consent, since its answer has to be compared with what was asked.
    """

    def is_selected(action: Action) -> bool:
        return _may_go_by_bulk(action) and action.clerk_user_id not in but

    if always:
        return is_selected if any(map(is_selected, actions)) else None
    worth = forecast(filter(is_selected, actions), restore_rate).bulk_worth_it
    return is_selected if worth else None


def _may_go_by_bulk(action: Action) -> bool:
    if action.kind not in BULK_KINDS or action.waits_for or action.park or has_consent(action):
        return False
    return action.kind == "create" or all(c.field != "backlink" for c in action.changes)


@dataclass(slots=True)
class BulkStep:
    """A line with the step it belongs to, as things stand now, and all writes of its action.

    `moved_to`: the digest of the row, where it is not the one that the line rests on; None where it is.
    """

    line: BulkLine
    step: Step
    writes: Sequence[PlannedWrite]
    moved_to: str | None = None

    @property
    def planned_write(self) -> PlannedWrite:
        return self.writes[self.line.position]

    @property
    def write(self) -> Write:
        """The write on the line."""
        return with_customer(self.planned_write.write, self.step.at)

    @property
    def is_last(self) -> bool:
        return self.line.position == len(self.writes) - 1


class BulkLines:
    """Makes lines of steps, steps of lines, and writes of both. Sends nothing."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def may_go_by_bulk(self, step: Step) -> bool:
        """Whether there is something to be done by this step that lines can say."""
        return step.decision.action is not None and _may_go_by_bulk(step.action) and bool(step.action.changes)

    def first(self, step: Step, *, tries: int = 0, plan_digest: str | None = None) -> BulkLine:
        """The line of a step that begins."""
        decision = replace(step.decision, action=step.action)
        line = BulkLine(
            user=step.subject.user,
            rides_in="",
            decision=_DECISIONS.dump_json(decision, exclude={"spec"}, exclude_defaults=True).decode(),
            plan_digest=self._context.plan_digest if plan_digest is None else plan_digest,
            tries=tries,
        )
        return _placed(BulkStep(line, step, writes_left(step, self._context)))

    def following(self, bulk_step: BulkStep) -> BulkLine:
        """The line of the next write; the one before it was done on `bulk_step.step.at`."""
        line = replace(
            bulk_step.line,
            position=bulk_step.line.position + 1,
            customer=bulk_step.step.at,
            tries=0,
            file=None,
            number=None,
        )
        return _placed(BulkStep(line, bulk_step.step, bulk_step.writes))

    def writes(self, lines: Iterable[BulkLine]) -> Iterator[tuple[list[BulkLine], Write]]:
        """The lines of a file that takes these, made one by one; customers share metafield lines."""
        pairs = ((line, self._bare(line).write) for line in lines)
        for group in groups_of(pairs, lambda pair: _metafields_in(pair[1])):
            yield [line for line, _ in group], _joined([write for _, write in group])

    def of(self, lines: Sequence[BulkLine]) -> list[BulkStep]:
        """The lines with rows and mappings as they are now."""
        context = self._context
        subjects = {s.user: s for s in subjects_of([line.user for line in lines], context.store, context.readers)}
        return [self._bulk_step(line, subjects[line.user]) for line in lines]

    def _bulk_step(self, line: BulkLine, subject: Subject) -> BulkStep:
        bulk_step = self._bare(line)
        now = used_digest(subject.profile, self._context.store)
        moved_to = now if now != bulk_step.step.action.profile_digest else None
        spec = self._spec(bulk_step.step.action, subject, moved=moved_to is not None)
        step = Step(bulk_step.step.action, subject, replace(bulk_step.step.decision, spec=spec))
        step.at = bulk_step.step.at
        step.written = [change for planned in bulk_step.writes[: line.position] for change in planned.covers]
        return BulkStep(line, step, bulk_step.writes, moved_to)  # creates and updates write the same for any mapping

    def _spec(self, action: Action, subject: Subject, *, moved: bool) -> Spec | None:
        """What the row wants, or, where it has moved since, what it wanted of the fields that are written."""
        store, profile = self._context.store, subject.profile
        if profile is None or not is_wanted(profile, store):
            return None
        spec = spec_of(profile, store)
        return as_written(spec, action.changes) if moved else spec

    def _bare(self, line: BulkLine) -> BulkStep:
        """Enough to know the write: neither row nor mapping is asked for."""
        decision = _DECISIONS.validate_json(line.decision)
        assert decision.action is not None
        step = Step(decision.action, Subject(line.user, None, None), decision)
        step.at = line.customer or decision.action.customer_id
        return BulkStep(line, step, writes_left(step, self._context))


def _placed(bulk_step: BulkStep) -> BulkLine:
    """The line, with the file kind of its write."""
    return replace(bulk_step.line, rides_in=FILE_KINDS[type(bulk_step.write)])


def _metafields_in(write: Write) -> int:
    """How many metafields a write sets; any other write fills a line alone."""
    return sum(map(len, write.values.values())) if isinstance(write, SetMetafields) else METAFIELDS_MAX


def _joined(writes: Sequence[Write]) -> Write:
    """One write that does all of these, which set metafields where they are several."""
    joined = [write.values for write in writes if isinstance(write, SetMetafields)]
    return SetMetafields({c: v for values in joined for c, v in values.items()}) if len(writes) > 1 else writes[0]
