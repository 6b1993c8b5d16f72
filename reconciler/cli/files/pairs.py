"""Reads tables of user-customer pairs as CSV or JSON, for `mappings import`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from pathlib import Path

from reconciler.core.fields.people import customer_in
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.errors import UsageError
from reconciler.outbound.reading import pause_collection
from reconciler.settings import StoreSettings

USER, CUSTOMER = "clerk_user_id", "shopify_customer_id"
SHOPS = ("store", "shop", "shopify_shop")
HINT = "each row names clerk_user_id, store (or shop), and shopify_customer_id: a number, a gid or an admin URL"
Pairs = dict[StoreName, dict[ClerkUserId, CustomerId]]


def read_pairs(path: Path, stores: tuple[StoreSettings, ...]) -> Pairs:
    """Read the pairs of a file, by store. UsageError with file and row if one is not valid or contradicts another."""
    found: Pairs = {}
    taken: dict[tuple[StoreName, CustomerId], ClerkUserId] = {}
    for number, row in _rows(path):
        at = f"{path}, row {number}"
        store = _store(row, stores, at)
        user, word = ClerkUserId(_text(row, USER, at)), _text(row, CUSTOMER, at)
        customer = customer_in(word)
        if customer is None:
            raise UsageError(f"{at}: '{word}' is not a customer", hint=HINT)
        if found.setdefault(store, {}).setdefault(user, customer) != customer:
            raise UsageError(
                f"{at}: an earlier row maps {user} to another customer of {store}", hint="remove one of them"
            )
        if taken.setdefault((store, customer), user) != user:
            raise UsageError(
                f"{at}: an earlier row maps {customer} of {store} to another user", hint="remove one of them"
            )
    if not found:
        raise UsageError(f"{path} has no pairs", hint=HINT)
    return found


def _rows(path: Path) -> Iterator[tuple[int, MappingOf[str, object]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}", hint="use a CSV or JSON file in UTF-8") from error
    if not text.lstrip().startswith(("[", "{")):
        yield from _csv_rows(text, path)
        return
    try:
        with pause_collection():
            rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON: {error}", hint=HINT) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path} is not a list of objects", hint=HINT)
    yield from enumerate(rows, start=1)


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, MappingOf[str, object]]]:
    """The rows of a CSV file with their line numbers. Columns are separated by commas, semicolons or tabs.

    Skips rows without any value, as spreadsheets append them.
    """
    head = next((line for line in text.splitlines() if line.strip()), "")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    names: list[str] | None = None
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if names is None:
                names = [cell.strip().casefold() for cell in row]
                _check_names(names, path)
                continue
            yield rows.line_num, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise UsageError(f"{path}, row {rows.line_num}: not valid CSV: {error}", hint=HINT) from error


def _check_names(names: list[str], path: Path) -> None:
    """UsageError if the first row lacks one of the columns."""
    lacking = [name for name in (USER, CUSTOMER) if name not in names]
    lacking += [] if {*SHOPS} & {*names} else ["store"]
    if lacking:
        raise UsageError(f"{path}: the first row lacks the column {', '.join(lacking)}", hint=HINT)


def _store(row: MappingOf[str, object], stores: tuple[StoreSettings, ...], at: str) -> StoreName:
    said = next((str(word).strip() for name in SHOPS if (word := row.get(name))), "")
    for store in stores:
        if said in {str(store.name), str(store.shop), str(store.domain)}:
            return store.name
    known = ", ".join(str(store.name) for store in stores)
    raise UsageError(f"{at}: '{said}' is not a store in stores.yaml", hint=f"stores.yaml has {known}")


def _text(row: MappingOf[str, object], name: str, at: str) -> str:
    value = row.get(name)
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text:
        raise UsageError(f"{at}: {name} is missing", hint=HINT)
    return text
