"""Metafields of several new customers in one call: ten points for 25 values, whoever they belong to.

Each customer's row stands in the state as `pending` by then, so that a death in between is healed by her next look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from reconciler.controller.act import Step, put_down
from reconciler.controller.carry import Outcome, carried
from reconciler.controller.context import StoreContext
from reconciler.core.model.ids import CustomerId
from reconciler.core.plan import chains
from reconciler.errors import AccessError, AnswerLost, PermanentError, TemporaryError
from reconciler.ports import METAFIELDS_MAX

T = TypeVar("T")


def finished(steps: Sequence[Step], context: StoreContext, pool: Executor) -> Iterator[Outcome]:
    """The calls that these steps put off, made together; whom one can't be made for gets a look of her own."""
    groups = packed(steps, lambda step: len(step.rest.joint or ()) if step.rest else 0)
    for outcomes in pool.map(partial(_made, context=context), groups):
        yield from outcomes


def packed(items: Iterable[T], values: Callable[[T], int], most: int = METAFIELDS_MAX) -> Iterator[list[T]]:
    """The items in groups with at most so many values together; an item is never split."""
    group: list[T] = []
    count = 0
    for item in items:
        size = values(item)
        if group and count + size > most:
            yield group
            group, count = [], 0
        group.append(item)
        count += size
    if group:
        yield group


def _made(group: Sequence[Step], context: StoreContext) -> list[Outcome]:
    rests = [(step, step.rest) for step in group if step.rest is not None]
    values = {CustomerId(step.at or ""): dict(rest.joint or {}) for step, rest in rests}
    try:
        shown = context.writer.set_metafields_of(values)
    except AccessError as error:
        return [Outcome(step.action, "failed", error.message, error.hint, error=error) for step in group]
    except (TemporaryError, PermanentError) as error:
        return [carried(step, context, failed=AnswerLost(error.message)) for step in group]
    for step, rest in rests:
        put_down(step, context, rest, shown.get(CustomerId(step.at or ""), {}))
    return [Outcome(step.action, "applied", freed=chains.gives_up(step.decision)) for step in group]
