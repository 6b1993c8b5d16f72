"""Tombstones of released users: which profile rows are older and do not reverse the release."""

from __future__ import annotations

from reconciler.core.fields.desired import profile_digest, spec_of
from reconciler.core.fields.diff import comparable
from reconciler.core.model.mapping import Mapping, text_in
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Spec
from reconciler.core.model.store import Store


def is_from_before(mapping: Mapping | None, profile: Profile, store: Store) -> bool:
    """Whether the row is older than the tombstone, and not the row of the user before the release.

    What a reconcile read need not be the last content before the release: a later change may have gone unread. A row that
    is not older than the one last wanted, by its own clock, is that content.
    """
    if mapping is None or mapping.status != "released" or mapping.left_at is None or profile.updated_at is None:
        return False
    if mapping.customer_id is None:
        return False  # there was no customer here, or another user has it now
    if profile.updated_at > mapping.left_at:
        return False
    known = (mapping.left_row_at, mapping.wanted_row_at)
    if any(at is not None and profile.updated_at >= at for at in known):
        return False  # by its own clock, not older than the row with which the user left, or than the one last wanted
    if profile_digest(profile) in {mapping.profile_digest, mapping.wanted_digest}:
        return False
    return mapping.wanted_digest is not None or not _is_as_agreed(mapping, spec_of(profile, store))


def _is_as_agreed(mapping: Mapping, spec: Spec) -> bool:
    """Whether the row matches the last-applied fields; for releases by versions that did not store `wanted_digest`."""
    enforced = {field: wanted for field, wanted in spec.fields.items() if wanted.policy == "enforce"}
    known = {field: mapping.applied.get(field) for field in enforced}
    return bool(mapping.applied) and all(
        comparable(field, text_in(known[field]), wanted.type) == comparable(field, wanted.value, wanted.type)
        for field, wanted in enforced.items()
    )
