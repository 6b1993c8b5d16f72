"""Metafields of several new customers in one call: ten points for 25 values of any customers.

Each mapping is `pending` by then, so that the next reconcile completes what a killed process left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from reconciler.controller.context import StoreContext
from reconciler.controller.execute import execute, record_joint, send, with_customer
from reconciler.controller.step import Outcome, Step, failure
from reconciler.core.model.ids import CustomerId
from reconciler.core.model.write import Metafields, SetMetafields
from reconciler.core.plan import chains
from reconciler.errors import AccessError, AnswerLost, PermanentError, TemporaryError
from reconciler.ports import METAFIELDS_MAX

T = TypeVar("T")


def send_joint(steps: Sequence[Step], context: StoreContext, pool: Executor) -> Iterator[Outcome]:
    """Send together the writes that these steps put off; a user with a failed write is executed alone."""
    groups = groups_of(steps, lambda step: sum(map(len, _metafields_of(step).values())))
    for outcomes in pool.map(partial(_send_group, context=context), groups):
        yield from outcomes


def groups_of(items: Iterable[T], values: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in groups with as many values together as one call may have; an item is never split."""
    group: list[T] = []
    count = 0
    for item in items:
        size = values(item)
        if group and count + size > METAFIELDS_MAX:
            yield group
            group, count = [], 0
        group.append(item)
        count += size
    if group:
        yield group


def _metafields_of(step: Step) -> MappingOf[CustomerId, Metafields]:
    write = with_customer(step.rest.write, step.at) if step.rest is not None else None
    return write.values if isinstance(write, SetMetafields) else {}


def _send_group(group: Sequence[Step], context: StoreContext) -> list[Outcome]:
    try:
        answer = send(
            SetMetafields({c: values for step in group for c, values in _metafields_of(step).items()}), context
        )
    except AccessError as error:
        return [failure(step.action, error) for step in group]
    except (TemporaryError, PermanentError) as error:
        return [execute(step, context, failed=AnswerLost(error.message)) for step in group]
    for step in group:
        if step.rest is not None and step.at is not None:
            record_joint(step, context, step.rest, answer.shown.get(step.at, {}))
    return [Outcome(step.action, "applied", freed=chains.freed_keys(step.decision)) for step in group]
