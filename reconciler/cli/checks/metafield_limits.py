"""Which wanted values of metafields the definitions in a shop refuse, as far as that is known without Shopify.

Shopify's documentation, "List of validation options", read 2026-11-30. A regular expression and a JSON schema are not
evaluated here, as they come from the shop; neither are times of day, ratings, measurements and domains.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from reconciler.cli.checks.conclusions import Check
from reconciler.cli.render.plain import count_text
from reconciler.core.fields.desired import is_wanted, spec_of
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.ports import Definition

ROWS_MAX: Final = 5_000
LENGTHS: Final = frozenset({"single_line_text_field", "multi_line_text_field", "id"})
NUMBERS: Final = frozenset({"number_integer", "number_decimal"})


def limit_checks(
    chunks: Iterable[list[Profile]], store: Store, definitions: Mapping[str, Definition]
) -> Iterator[Check]:
    """A warning for each limit of a definition that wanted values break; of the first chunks, up to ROWS_MAX rows."""
    limited = {name: each for name, each in definitions.items() if each.limits}
    if not limited:
        return
    users: dict[tuple[str, str], list[str]] = {}
    rows = 0
    for profiles in chunks:
        for profile in profiles:
            for broken in _broken_by(profile, store, limited):
                users.setdefault(broken, []).append(profile.clerk_user_id)
        rows += len(profiles)
        if rows >= ROWS_MAX:
            break
    for (name, limit), found in sorted(users.items()):
        message = (
            f"of {count_text(rows, 'row')}, {len(found):,} with a value of {name} that its definition in Shopify refuses "
            f"({limit}), such as {found[0]}"
        )
        hint = "such a value is held (Rejected): correct the profiles, or the definition in Shopify's settings"
        yield Check(area=store.name, what="metafields", level="warning", message=message, hint=hint)


def _broken_by(profile: Profile, store: Store, limited: Mapping[str, Definition]) -> Iterator[tuple[str, str]]:
    """The metafields of this user that Shopify would refuse, each with the name of a limit."""
    if not is_wanted(profile, store):
        return
    spec = spec_of(profile, store)
    for name, each in limited.items():
        value = spec.value(f"metafields.{name}")
        if value is not None and (limit := broken_limit(value, each.type, each.limits)) is not None:
            yield name, limit


def broken_limit(value: str, type_: str, limits: Mapping[str, str]) -> str | None:
    """The name of the first limit that the value breaks, or None if it breaks none that is evaluated."""
    try:
        if type_.startswith("list."):
            return _broken_of_list(json.loads(value), type_.removeprefix("list."), limits)
        return next((name for name, limit in limits.items() if _breaks(value, type_, name, limit)), None)
    except (ValueError, InvalidOperation, RecursionError):
        return None  # not a value of its type: Shopify has a message of its own for that


def _broken_of_list(elements: object, type_: str, limits: Mapping[str, str]) -> str | None:
    if not isinstance(elements, list):
        return None
    for name, is_broken in (("list.min", int.__lt__), ("list.max", int.__gt__)):
        if name in limits and is_broken(len(elements), int(limits[name])):
            return name
    texts = (each if isinstance(each, str) else json.dumps(each) for each in elements)
    return next((found for text in texts if (found := broken_limit(text, type_, limits)) is not None), None)


def _breaks(value: str, type_: str, name: str, limit: str) -> bool:
    if name == "choices":
        choices = json.loads(limit)
        return isinstance(choices, list) and value not in choices
    if name == "max_precision":
        return len(value.partition(".")[2]) > int(limit)
    if name not in {"min", "max"}:
        return False
    if type_ == "date":
        return value < limit if name == "min" else value > limit
    if type_ not in LENGTHS | NUMBERS:
        return False
    own, bound = Decimal(len(value)) if type_ in LENGTHS else Decimal(value), Decimal(limit)
    return own < bound if name == "min" else own > bound
