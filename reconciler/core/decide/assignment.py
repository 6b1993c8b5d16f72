"""Assignment of a customer to a user by an operator (`mappings import`), and why one may be impossible."""

from __future__ import annotations

from reconciler.core.decide.leaving.succession import is_free_for
from reconciler.core.fields.desired import is_wanted
from reconciler.core.model.action import Hold
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold
from reconciler.core.model.store import Store
from reconciler.core.model.view import View


def assignment_hold(
    user: ClerkUserId, profile: Profile | None, mapping: Mapping | None, view: View, store: Store
) -> Hold | None:
    """The hold of an impossible assignment; None where it is possible, or was not requested."""
    if view.assigned_to is None:
        return None
    why = _why_not(user, profile, mapping, view, store)
    if why is None:
        return None
    message = f"{view.assigned_to} can't be assigned to this user: {why}"
    return hold(user, view.assigned or mapping, "CannotAssign", message)


def _why_not(
    user: ClerkUserId, profile: Profile | None, mapping: Mapping | None, view: View, store: Store
) -> str | None:
    if is_wanted(profile, store) is not True:
        return "this store does not want the user, or the profile row is missing"
    theirs = view.mapped if view.mapped is not None and view.mapped.backlink in {None, user} else None
    current = view.by_backlink or theirs
    if current is not None:
        return None if current.id == view.assigned_to else f"the user has {current.id}"
    if view.assigned is None:
        return "the shop has no such customer"
    owner = view.owner(view.assigned)
    if owner in {None, user} or is_free_for(mapping, view.former(view.assigned)):
        return None
    return f"the customer belongs to {owner}"
