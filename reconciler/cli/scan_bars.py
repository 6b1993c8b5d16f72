"""Progress of scans on stderr, from the first second until the result is printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.cli.context import Context
    from reconciler.core.model.ids import StoreName


@contextmanager
def scan_bars(
    context: Context, count: Callable[[], int | None]
) -> Iterator[Callable[[StoreName], Callable[[int], None]]]:
    """Show a line until the first scan begins, then a bar for each store. Yields what begins a store's bar.

    Nothing is shown, and `count` (how many users a scan reads, or None) is not called, if stderr is not a terminal.
    """
    if not sys.stderr.isatty():  # to import what draws the bars takes long
        yield lambda _store: lambda _users: None
        return
    with context.progress() as progress:
        opening = progress.add_task("opening the shops", total=None)
        total = count()

        def begin(store: StoreName) -> Callable[[int], None]:
            progress.update(opening, visible=False)
            task = progress.add_task(f"scanning {store}", total=total)

            def advance(users: int) -> None:
                progress.advance(task, users)

            return advance

        yield begin
