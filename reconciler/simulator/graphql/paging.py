"""Connections as Shopify pages them: opaque cursors, one of `first` and `last`, 250 a page.

Messages and cursor form: live replies, read 2026-11-23. Shopify's response to a page above 250 is not known.
"""

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from graphql import GraphQLError

from reconciler.simulator.graphql.documents import Json

PAGE_MAX: Final = 250
T = TypeVar("T")
Key = tuple[Any, int]
"""The sort key of a list: a value, then the number."""


def page_size(first: int | None, last: int | None) -> tuple[int, bool]:
    """The requested number, and whether it is counted from the end."""
    if first is None and last is None:
        raise bad_request("you must provide one of first or last")
    if first is not None and last is not None:
        raise bad_request("providing both first and last is not supported")
    size = first if first is not None else last
    assert size is not None
    name = "first" if first is not None else "last"
    if size < 0:
        raise bad_request(f"{name} must be positive")
    if size > PAGE_MAX:
        raise bad_request(f"{name} must not be greater than {PAGE_MAX}")
    return size, first is None


def bad_request(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_REQUEST"})


def cursor(key: Key) -> str:
    text = json.dumps({"last_id": key[1], "last_value": str(key[1]) if key[0] is None else key[0]})
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_cursor(text: str, *, by_number: bool = False) -> Key:
    try:
        sent = json.loads(base64.urlsafe_b64decode(text.encode()))
        return (None if by_number else sent["last_value"], int(sent["last_id"]))
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise bad_request("Invalid cursor for current pagination sort.") from error


def connection(
    rows: Sequence[T],
    *,
    key: Callable[[T], Key],
    view: Callable[[T], Any],
    has_next: bool,
    has_previous: bool,
) -> Json:
    """The value of a connection field with these rows."""
    nodes = [view(row) for row in rows]

    def edges() -> list[Json]:
        return [{"cursor": cursor(key(row)), "node": node} for row, node in zip(rows, nodes, strict=True)]

    return {
        "nodes": nodes,
        "edges": edges,
        "pageInfo": {
            "hasNextPage": has_next,
            "hasPreviousPage": has_previous,
            "startCursor": cursor(key(rows[0])) if rows else None,
            "endCursor": cursor(key(rows[-1])) if rows else None,
        },
    }


def page_of(
    rows: Sequence[T],
    *,
    key: Callable[[T], Key],
    view: Callable[[T], Any],
    first: int | None,
    last: int | None,
    after: str | None = None,
    before: str | None = None,
    reverse: bool = False,
    by_number: bool = True,
) -> Json:
    """One page of rows, which must be sorted by `key`."""
    size, from_end = page_size(first, last)
    start, stop = 0, len(rows)
    sort_key = (lambda row: key(row)[1]) if by_number else key
    ends = [(text, read_cursor(text, by_number=by_number)) for text in (after, before) if text is not None]
    marks = {text: mark[1] if by_number else mark for text, mark in ends}
    low, high = (before, after) if reverse else (after, before)
    if low is not None:
        start = bisect_right(rows, marks[low], key=sort_key)
    if high is not None:
        stop = max(start, bisect_left(rows, marks[high], key=sort_key))
    if from_end != reverse:
        cut = max(start, stop - size)
        chosen, before_it, after_it = rows[cut:stop], cut > 0, stop < len(rows)
    else:
        cut = min(stop, start + size)
        chosen, before_it, after_it = rows[start:cut], start > 0, cut < len(rows)
    if reverse:
        chosen, before_it, after_it = chosen[::-1], after_it, before_it
    return connection(chosen, key=key, view=view, has_next=after_it, has_previous=before_it)
