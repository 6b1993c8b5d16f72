"""The command line with other pauses or another clock: all else is the command as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from reconciler.cli.context import OUTAGE_S, Context
from reconciler.cli.main import LazyGroup, cli
from reconciler.controller.worker import Pauses
from reconciler.manager.intervals import Intervals
from reconciler.ports import Clock


def program(
    *, clock: Clock | None = None, intervals: Intervals | None = None, outage_s: float = OUTAGE_S
) -> click.Group:
    """The commands of `reconciler`, with these in place of the product's."""

    @click.group(cls=LazyGroup, params=cli.params)
    @click.pass_context
    def group(ctx: click.Context, /, **options: Any) -> None:
        ctx.obj = Context(**options, clock=clock, intervals=intervals, outage_s=outage_s)

    return group


def intervals_of(given: Mapping[str, Any]) -> Intervals:
    """The product's intervals with these in their place, as they come from JSON."""
    return Intervals(**{**given, "pauses": Pauses(**given.get("pauses", {}))})
