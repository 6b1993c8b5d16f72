"""Whether the config has renamed the metafield that carries the back-link."""

from __future__ import annotations

from reconciler.core.fields.desired import config_digest
from reconciler.core.model.mapping import BACKLINK, Mapping
from reconciler.core.model.store import Store


def is_renamed(mapping: Mapping | None, store: Store) -> bool:
    """Whether the config names another metafield than the one last written on this customer.

    A mapping of an earlier version does not record that metafield: there, any change of the config counts.
    """
    if mapping is None:
        return False
    last = mapping.applied.get(BACKLINK)
    if last is not None:
        return last.config != store.backlink.name
    return mapping.config_digest not in {"", config_digest(store)}
