"""A probe: whether a shop grants access now, for the command line and for `run`."""

from __future__ import annotations

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.errors import AccessError, CallError, ConfigError, ReconcilerError
from reconciler.settings import StoreSettings
from reconciler.wiring.components import Components


@frozen
class Probed:
    """What a probe found. `error`: why the shop did not grant access; None where it did."""

    store: StoreName
    found: str
    error: ReconcilerError | None = None

    @property
    def grants(self) -> bool:
        """Whether the shop grants access."""
        return self.error is None


def probe_shop(components: Components, store: StoreSettings) -> Probed:
    """Call the shop once, and say what it answered. Changes nothing but that an unidentified shop is identified."""
    try:
        if store.name in components.shop_keys.unsure():
            components.identify(store.name)
            store = next(known for known in components.shop_keys.stores if known.name == store.name)
        facts = components.setup(store).facts()
    except AccessError as error:
        return Probed(store.name, f"the shop refuses access: {error.message}", error)
    except (ConfigError, CallError) as error:
        return Probed(store.name, f"the shop could not be asked: {error.message}", error)
    return Probed(
        store.name,
        f"the shop grants access: {facts.name}, API version {facts.api_version}, {len(facts.scopes)} scopes",
    )
