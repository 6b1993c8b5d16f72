"""`reconciler probe STORE…`: whether shops grant access now; ends a suspension where one does."""

from __future__ import annotations

from dataclasses import replace

from reconciler.cli.context import Context
from reconciler.settings import StoreSettings
from reconciler.wiring import Components
from reconciler.wiring.probing import probe_shop

FAILED = 1


def probe(context: Context, *, stores: tuple[str, ...]) -> int:
    failed = False
    with context.components() as components:
        acts = components.acts(context.actor)
        for store in components.stores(stores):
            acts.note("probe", store.name)
            probed = probe_shop(components, store)
            if probed.error is not None:
                context.report_failure(store.name, probed.found, probed.error.hint)
                failed = True
                continue
            resumed = "; its suspension has ended" if _end_suspension(components, store) else ""
            context.say(f"{store.name}: {probed.found}{resumed}")
    return FAILED if failed else 0


def _end_suspension(components: Components, store: StoreSettings) -> bool:
    """Record that the shop grants access, which running controllers follow; return whether it was suspended."""
    facts = components.state.mappings.facts(store.shop)
    if facts is None or facts.suspended_reason is None:
        return False
    components.state.mappings.put_facts(replace(facts, suspended_at=None, suspended_reason=None))
    return True
