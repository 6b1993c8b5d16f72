"""The cost of one action in points of the shop.

A mutation that selects scalars only costs 10 points (Shopify Admin API 2026-10, measured 2026).
"""

from __future__ import annotations

from reconciler.core.fields import normalise
from reconciler.core.model.action import Change, Kind
from reconciler.core.model.consent import is_consent
from reconciler.core.model.store import DESTRUCTIVE
from reconciler.core.model.values import tags_of

MUTATION_POINTS = 10
CONSENT_POINTS = 11  # its answer shows the email or the phone, an object


def points_of(kind: Kind, changes: tuple[Change, ...], how: str = "") -> int:
    """Points that executing one action costs: ten for each mutation, and one more for that of a consent."""
    if kind == "release" and how in DESTRUCTIVE:
        return MUTATION_POINTS
    fields = {c.field for c in changes}
    metafields = [c for c in changes if c.field.startswith("metafields.")]
    calls = bool([c for c in metafields if c.after is not None]) + bool([c for c in metafields if c.after is None])
    consents = {f for f in fields if is_consent(f)}
    more = CONSENT_POINTS * len(consents)
    if kind == "create":
        return MUTATION_POINTS * (1 + calls) + more
    tags = next((c for c in changes if c.field == "tags"), None)
    if tags is not None:
        before, after = normalise.tag_keys(tags_of(tags.before)), normalise.tag_keys(tags_of(tags.after))
        calls += bool(after - before) + bool(before - after)
    scalars = {f for f in fields - consents if f not in {"tags", "backlink"} and not f.startswith("metafields.")}
    taken_over = any(c.field == "backlink" and c.before is not None and c.after is not None for c in changes)
    calls += bool(scalars) + ("backlink" in fields) + taken_over
    if kind == "relink":
        calls += 4  # old customer: remove back-link and our tags, set the trace; new customer: remove an older trace
    if kind == "merge":
        calls += 1
    return MUTATION_POINTS * calls + more
