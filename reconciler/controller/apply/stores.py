"""Plans of several stores, applied side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from functools import partial

from reconciler.controller.context import StoreContext
from reconciler.controller.parallel import STORES_AT_ONCE, Cancellation, run_parallel
from reconciler.controller.step import Outcome
from reconciler.core.model.ids import StoreName
from reconciler.core.plan.gather import ScanResult


def apply_stores(
    scans: MappingOf[StoreName, ScanResult],
    context: MappingOf[StoreName, StoreContext],
    apply: Callable[[ScanResult, StoreContext], Iterator[Outcome]],
) -> Generator[tuple[StoreName, Outcome], None, None]:
    """Apply each store's plan in a thread of its own; outcomes of all stores come as they are known.

    `apply` applies one store's plan. An error that ends a store's work (our own database is away) is raised once
    the others are done. Closing this (Ctrl-C) cancels them all, each where it may end.
    """
    cancellation = Cancellation()
    works = {
        name: partial(apply, scans[name], replace(each, cancellation=cancellation)) for name, each in context.items()
    }
    yield from run_parallel(works, cancellation, at_once=STORES_AT_ONCE, name="apply", one_ends_all=False)
