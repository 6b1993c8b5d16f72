"""Catch up the mirrors of several stores, side by side."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from functools import partial

from reconciler.controller.mirror.refresh import MirrorCheck, MirrorContext, check_mirror
from reconciler.controller.parallel import side_by_side
from reconciler.core.model.ids import StoreName


def check_mirrors(contexts: MappingOf[StoreName, MirrorContext]) -> dict[StoreName, MirrorCheck]:
    """Catch up each store's mirror, in a thread of its own, and say on which of them a plan may rest."""
    return side_by_side({name: partial(check_mirror, context) for name, context in contexts.items()})
