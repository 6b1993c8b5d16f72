"""Tables of pairs, user and customer, as CSV or JSON: what `mappings import` reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from pathlib import Path

from reconciler.cli.users import customer_named
from reconciler.core.ids import ClerkUserId, CustomerId, StoreName
from reconciler.errors import UsageError
from reconciler.settings import StoreSettings

SHOPS = ("store", "shop", "shopify_shop")
HINT = "each row names clerk_user_id, store (or shop), and shopify_customer_id: a number, a gid or an admin URL"
Pairs = dict[StoreName, dict[ClerkUserId, CustomerId]]


def pairs_in(path: Path, stores: tuple[StoreSettings, ...]) -> Pairs:
    """The pairs of a file by store. UsageError with file and row where one can't be understood, or contradicts another."""
    found: Pairs = {}
    taken: dict[tuple[StoreName, CustomerId], ClerkUserId] = {}
    for number, row in _rows(path):
        at = f"{path}, row {number}"
        store = _store(row, stores, at)
        user, word = ClerkUserId(_text(row, "clerk_user_id", at)), _text(row, "shopify_customer_id", at)
        customer = customer_named(word)
        if customer is None:
            raise UsageError(f"{at}: '{word}' names no customer", hint=HINT)
        if found.setdefault(store, {}).setdefault(user, customer) != customer:
            raise UsageError(
                f"{at}: {user} stands with another customer of {store} above", hint="leave one of them out"
            )
        if taken.setdefault((store, customer), user) != user:
            raise UsageError(
                f"{at}: {customer} of {store} stands with another user above", hint="leave one of them out"
            )
    if not found:
        raise UsageError(f"{path} names no pair", hint=HINT)
    return found


def _rows(path: Path) -> Iterator[tuple[int, MappingOf[str, object]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}", hint="a CSV or JSON file in UTF-8") from error
    if not text.lstrip().startswith(("[", "{")):
        yield from enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2)
        return
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}", hint=HINT) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path} is no list of objects", hint=HINT)
    yield from enumerate(rows, start=1)


def _store(row: MappingOf[str, object], stores: tuple[StoreSettings, ...], at: str) -> StoreName:
    said = next((word for name in SHOPS if (word := row.get(name))), None)
    for store in stores:
        if said in {str(store.name), str(store.shop), str(store.domain)}:
            return store.name
    known = ", ".join(str(store.name) for store in stores)
    raise UsageError(f"{at}: '{said or ''}' is no store of stores.yaml", hint=f"stores.yaml has {known}")


def _text(row: MappingOf[str, object], name: str, at: str) -> str:
    value = row.get(name)
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text:
        raise UsageError(f"{at}: {name} is missing", hint=HINT)
    return text
