"""Prints what several stores have in common once, under a heading that names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.plain import clean

NAMES_MAX: Final = 40  # names in one heading
ANY_STORE: Final = "STORE"

T = TypeVar("T")
S = TypeVar("S")


def print_heading(stores: Sequence[tuple[str, str]], lines: LinePrinter) -> None:
    """Print the name and the shop (if given) of one store, or the number and the names of several."""
    if len(stores) == 1:
        ((name, shop),) = stores
        lines.put((clean(name), "bold"), *((("  ", ""), (clean(shop), "dim")) if shop else ()))
        return
    names = [(clean(name), "dim") for name, _ in stores[:NAMES_MAX]]
    if len(stores) > NAMES_MAX:
        names.append((f"and {len(stores) - NAMES_MAX:,} more", "dim"))
    (first, style), *rest = names
    lines.flow([(f"{len(stores):,} stores  {first}", style), *rest], hang=2, between=", ")


def group_alike(shapes: Iterable[tuple[T, S]]) -> Mapping[S, Sequence[T]]:
    """Group what has the same shape, in the order of the first of each group."""
    found: dict[S, list[T]] = {}
    for one, shape in shapes:
        found.setdefault(shape, []).append(one)
    return found


def for_any_store(text: str, store: str) -> str:
    """The text without the store's name, so that it can be compared with that of another store."""
    return re.sub(rf"(?<![\w-]){re.escape(store)}(?![\w-])", ANY_STORE, text)
