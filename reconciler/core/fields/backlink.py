"""The metafield that carries the back-link: whether the config names another one by now."""

from __future__ import annotations

from reconciler.core.fields.desired import config_digest
from reconciler.core.model.mapping import BACKLINK, Mapping
from reconciler.core.model.store import Store


def is_renamed(mapping: Mapping | None, store: Store) -> bool:
    """Whether the config names another back-link than the one that this customer was given last.

    A row of an earlier version does not say which that was: there another config since then is reason enough.
    """
    if mapping is None:
        return False
    last = mapping.applied.get(BACKLINK)
    if last is not None:
        return last.config != store.backlink.name
    return mapping.config_digest not in {"", config_digest(store)}
