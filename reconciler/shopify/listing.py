"""ports.CustomerLists for one shop: recently updated and new customers, and bulk query lines as rows of the mirror.

A hot loop over whole shops: it decodes lines into msgspec structs and builds no Customer.

Facts (Admin API 2026-10, read 2026-11-23): the search index lags by seconds, and by up to half an hour at times;
`updated_at` takes times but may match whole days, `>` was seen to act like `>=`, and time zones were not reliable: so the
value is quoted, in UTC, and the caller must add an overlap. A sorted or searched list ends at 25,000. Orders and consent
update a customer too. A list by id without a query does not use the index: it does not lag and has no such end. A page of
25 ids costs 8 points, one of 250 costs 13.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any, Final, Literal

import msgspec

from reconciler.core.fields import normalise
from reconciler.core.fields.fingerprint import NO_CONSENTS, values_fp, values_json
from reconciler.core.model.ids import CustomerId
from reconciler.core.model.scalars import SCALARS
from reconciler.core.model.store import Store
from reconciler.errors import PermanentError, TemporaryError
from reconciler.outbound.reading import MalformedError, decode_json, is_storable
from reconciler.ports import Seen, Touched
from reconciler.shopify.api.client import Reply, ShopClient
from reconciler.shopify.api.consents import consents_in, line_members
from reconciler.shopify.api.document import document
from reconciler.shopify.api.failures import DEFECT_HINT
from reconciler.shopify.api.pace import Lane
from reconciler.shopify.api.scalars import members, values_in
from reconciler.shopify.api.shapes import CustomerGid, CustomerList, CustomersCount, Listed, Moment, prepare, utc

LISTED_MAX: Final = 25_000
PAGES_MAX: Final = 200  # full pages reach the end of a list in half of them
_ODD: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")  # U+0000, or perhaps a lone surrogate
Time = Literal["updated_at", "created_at"]
NEWEST_FIRST, NEWEST_THEN = 25, 250  # page sizes: usually there is no new customer, and one small page shows it


class _Metafield(msgspec.Struct, gc=False):
    value: str | None = None
    type: str | None = None


_EMAIL, _PHONE = SCALARS.index("email"), SCALARS.index("phone")
_SCALARS: Final = members(str | None, optional=True)
for _part in (_Metafield, msgspec.defstruct("_Scalars", _SCALARS)):  # all instances share their types: prepared once
    prepare(_part)


class ShopCustomerLists:
    """The lists of one shop. They never prove that a customer exists or not."""

    def __init__(self, client: ShopClient, store: Store, *, lane: Lane = "scan", listed_max: int = LISTED_MAX) -> None:
        self._client = client
        self._lane: Lane = lane
        self._listed_max = listed_max
        self._channels = store.consent.channels
        self._metafields = tuple((f"m{i}", name) for i, name in enumerate(store.metafields, 1))
        fields: list[Any] = [
            ("id", CustomerGid),
            ("updatedAt", Moment | None, None),
            *(members(str | None, optional=True, more=line_members(self._channels)) if self._channels else _SCALARS),
            ("tags", list[str], msgspec.field(default_factory=list)),
            *((member, _Metafield | None, None) for member in ("m0", *(member for member, _ in self._metafields))),
        ]
        self._line = msgspec.defstruct("Line", fields, gc=False)
        self._decode = msgspec.json.Decoder(self._line).decode

    def seen_in(self, lines: Iterable[bytes]) -> list[Seen]:
        try:
            return [self._odd(line) if _ODD.search(line) else self._seen(self._decode(line)) for line in lines]
        except (msgspec.MsgspecError, MalformedError, UnicodeError, RecursionError) as error:
            said = f"{self._client.shop}: a line of the bulk query's result is not a customer: {str(error)[:200]}"
            raise PermanentError(said, hint=DEFECT_HINT) from error

    def _odd(self, raw: bytes) -> Seen:
        """A line with text that no database can store: the text is omitted, and the customer never counts as equal."""
        said = decode_json(raw, with_surrogates=True)
        kept = _storable_part(said)
        seen = self._seen(msgspec.convert(kept, self._line))
        return seen if kept == said else seen._replace(fp=None)

    def _seen(self, line: Any) -> Seen:
        scalars = values_in(line)
        backlink = line.m0.value if line.m0 else None
        metafields = [
            (name, found.value, found.type or "")
            for member, name in self._metafields
            if (found := getattr(line, member)) is not None and found.value is not None
        ]
        consents = consents_in(line, self._channels) if self._channels else NO_CONSENTS
        return Seen(
            customer_id=CustomerId(line.id),
            email_key=normalise.email_key(scalars[_EMAIL]),
            backlink=backlink,
            fp=values_fp(scalars, line.tags, backlink, metafields, consents),
            values=values_json(scalars, line.tags, backlink, metafields, consents),
            updated_at=utc(line.updatedAt) if line.updatedAt is not None else None,
            phone_key=normalise.phone_key(scalars[_PHONE]),
        )

    def updates_since(self, at: datetime) -> Iterator[list[Touched]]:
        since = at.astimezone(UTC).replace(microsecond=0)
        asked = f"updated_at:>='{since:%Y-%m-%dT%H:%M:%SZ}'"
        happened = f"were updated since {since:%Y-%m-%d %H:%M} UTC"
        for touched in self._pages("customers_touched", repeat({"query": asked}), "updated_at", happened):
            # Shopify ignores a filter that it does not know and returns every customer, so the filter is applied here too.
            yield [one for one in touched if one[1] >= since - timedelta(seconds=1)]

    def newest(self) -> Iterator[list[Touched]]:
        sizes = chain([NEWEST_FIRST], repeat(NEWEST_THEN))
        return self._pages("customers_newest", ({"first": size} for size in sizes), "created_at", "are new")

    def _pages(self, name: str, asked: Iterable[dict[str, Any]], time: Time, happened: str) -> Iterator[list[Touched]]:
        """Read a list page by page with these variables. PermanentError if it exceeds the limits."""
        after: str | None = None
        listed = 0
        for pages, variables in enumerate(asked, 1):
            reply = self._client.run(document(name), {**variables, "after": after}, lane=self._lane)
            page = reply.as_shape(CustomerList).customers
            if page is None:  # and no error either: nothing can be concluded
                raise TemporaryError(f"{self._client.shop}: {name}: the response has no list")
            listed += len(page.nodes)
            yield [(CustomerId(node.id), _time(reply, node, time)) for node in page.nodes]
            if not page.page_info.has_next_page:
                return
            if listed >= self._listed_max or pages >= PAGES_MAX:
                said = f"{self._client.shop}: more than {self._listed_max} customers {happened}"
                raise PermanentError(said, hint="reconciler backfill shopify")
            if not page.nodes or page.page_info.end_cursor in {None, after}:
                raise reply.sent.malformed_answer(MalformedError("the list has a next page, but no cursor"))
            after = page.page_info.end_cursor

    def count(self) -> int | None:
        reply = self._client.run(document("customers_count"), lane=self._lane)
        found = reply.as_shape(CustomersCount).customers_count
        return found.count if found is not None and found.precision == "EXACT" else None


def _storable_part(value: Any) -> Any:
    """The value, with None for each text that no database can store; such texts are omitted from lists."""
    if isinstance(value, str):
        return value if is_storable(value) else None
    if isinstance(value, list):
        return [part for part in map(_storable_part, value) if part is not None]
    return {key: _storable_part(part) for key, part in value.items()} if isinstance(value, dict) else value


def _time(reply: Reply, node: Listed, name: Time) -> datetime:
    at = node.updated_at if name == "updated_at" else node.created_at
    if at is None:
        raise reply.sent.malformed_answer(MalformedError(f"a customer in a list has no {name}"))
    return utc(at)
