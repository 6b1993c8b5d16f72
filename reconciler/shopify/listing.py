"""ports.CustomerLists for one shop: who was touched or came lately, and a bulk query's lines as what the mirror keeps.

A hot loop over whole shops: lines are decoded into msgspec structs, and no Customer is built.

Facts (Admin API 2026-10, read 2026-11-23): the index lags behind by seconds, seen up to half an hour; `updated_at` takes
times but may match whole days, `>` was seen to act like `>=`, time zones have been odd: so it is quoted, in UTC, with an
overlap that whoever asks must give. A sorted or searched list ends at 25,000. Orders and consent touch a customer too.
A list by id without a query does not go to the index: it does not lag, and has no end but its own. A page of 25 ids is 8
points, of 250 it is 13.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any, Final, Literal

import msgspec

from reconciler.core.fields import normalise
from reconciler.core.fields.fingerprint import values_fp, values_json
from reconciler.core.model.ids import CustomerId
from reconciler.core.model.store import Store
from reconciler.errors import PermanentError, TemporaryError
from reconciler.outbound.reading import MalformedError, decoded, is_storable
from reconciler.ports import Seen, Touched
from reconciler.shopify.client import Reply, ShopClient
from reconciler.shopify.document import document
from reconciler.shopify.failures import DEFECT_HINT
from reconciler.shopify.pace import Lane
from reconciler.shopify.shapes import CustomerGid, CustomerList, CustomersCount, Listed, Moment, prepare, utc

LISTED_MAX: Final = 25_000
PAGES_MAX: Final = 200  # a shop that fills its pages reaches the end of a list in half of them
_ODD: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")  # U+0000, or perhaps half a character
Time = Literal["updated_at", "created_at"]
NEWEST_FIRST, NEWEST_THEN = 25, 250  # in a page: as a rule there is nobody new, and one small page says so


class _Email(msgspec.Struct, gc=False):
    emailAddress: str | None = None  # noqa: N815  Shopify's name


class _Phone(msgspec.Struct, gc=False):
    phoneNumber: str | None = None  # noqa: N815  Shopify's name


class _Metafield(msgspec.Struct, gc=False):
    value: str | None = None
    type: str | None = None


for _part in (_Email, _Phone, _Metafield):  # all instances share these; each makes its line in one thread
    prepare(_part)


class CustomerLists:
    """What a shop shows in lists, never a proof that somebody is there or not."""

    def __init__(self, client: ShopClient, store: Store, *, lane: Lane = "sweep") -> None:
        self._client = client
        self._lane: Lane = lane
        self._names = tuple(store.metafields)
        fields: list[Any] = [
            ("id", CustomerGid),
            ("updatedAt", Moment | None, None),
            ("firstName", str | None, None),
            ("lastName", str | None, None),
            ("locale", str | None, None),
            ("note", str | None, None),
            ("tags", list[str], msgspec.field(default_factory=list)),
            ("defaultEmailAddress", _Email | None, None),
            ("defaultPhoneNumber", _Phone | None, None),
            *((f"m{i}", _Metafield | None, None) for i in range(len(self._names) + 1)),
        ]
        self._line = msgspec.defstruct("Line", fields, gc=False)
        self._decode = msgspec.json.Decoder(self._line).decode

    def seen_in(self, lines: Iterable[bytes]) -> list[Seen]:
        try:
            return [self._odd(line) if _ODD.search(line) else self._seen(self._decode(line)) for line in lines]
        except (msgspec.MsgspecError, MalformedError, UnicodeError, RecursionError) as error:
            said = f"{self._client.shop}: a line of the bulk query's result is no customer: {str(error)[:200]}"
            raise PermanentError(said, hint=DEFECT_HINT) from error

    def _odd(self, raw: bytes) -> Seen:
        """Of a line that may hold text which no database keeps: that is left out, and the customer never counts as equal."""
        said = decoded(raw, with_surrogates=True)
        kept = _storable_part(said)
        seen = self._seen(msgspec.convert(kept, self._line))
        return seen if kept == said else seen._replace(fp=None)

    def _seen(self, line: Any) -> Seen:
        email = line.defaultEmailAddress.emailAddress if line.defaultEmailAddress else None
        phone = line.defaultPhoneNumber.phoneNumber if line.defaultPhoneNumber else None
        scalars = (email, line.firstName, line.lastName, phone, line.locale, line.note)
        backlink = line.m0.value if line.m0 else None
        metafields = [
            (name, found.value, found.type or "")
            for i, name in enumerate(self._names, 1)
            if (found := getattr(line, f"m{i}")) is not None and found.value is not None
        ]
        return Seen(
            customer_id=CustomerId(line.id),
            email_key=normalise.email_key(email),
            backlink=backlink,
            fp=values_fp(scalars, line.tags, backlink, metafields),
            values=values_json(scalars, line.tags, backlink, metafields),
            updated_at=utc(line.updatedAt) if line.updatedAt is not None else None,
            phone_key=normalise.phone_key(phone),
        )

    def touched_since(self, at: datetime) -> Iterator[list[Touched]]:
        since = at.astimezone(UTC).replace(microsecond=0)
        asked = f"updated_at:>='{since:%Y-%m-%dT%H:%M:%SZ}'"
        happened = f"were touched since {since:%Y-%m-%d %H:%M} UTC"
        for touched in self._pages("customers_touched", repeat({"query": asked}), "updated_at", happened):
            # A filter that the shop does not know is ignored and everybody comes; so each is held to it here.
            yield [one for one in touched if one[1] >= since - timedelta(seconds=1)]

    def newest(self) -> Iterator[list[Touched]]:
        sizes = chain([NEWEST_FIRST], repeat(NEWEST_THEN))
        return self._pages("customers_newest", ({"first": size} for size in sizes), "created_at", "came lately")

    def _pages(self, name: str, asked: Iterable[dict[str, Any]], time: Time, happened: str) -> Iterator[list[Touched]]:
        """A list page by page, each with what is asked for then; PermanentError where it does not end in time."""
        after: str | None = None
        listed = 0
        for pages, variables in enumerate(asked, 1):
            reply = self._client.run(document(name), {**variables, "after": after}, lane=self._lane)
            page = reply.shaped(CustomerList).customers
            if page is None:  # no error beside it either: nothing may be concluded
                raise TemporaryError(f"{self._client.shop}: {name}: the list did not come")
            listed += len(page.nodes)
            yield [(CustomerId(node.id), _time(reply, node, time)) for node in page.nodes]
            if not page.page_info.has_next_page:
                return
            if listed >= LISTED_MAX or pages >= PAGES_MAX:
                said = f"{self._client.shop}: more than {LISTED_MAX} customers {happened}"
                raise PermanentError(said, hint="reconciler backfill shopify")
            if not page.nodes or page.page_info.end_cursor in {None, after}:
                raise reply.sent.malformed(MalformedError("the list goes on, and does not say from where"))
            after = page.page_info.end_cursor

    def count(self) -> int | None:
        reply = self._client.run(document("customers_count"), lane=self._lane)
        found = reply.shaped(CustomersCount).customers_count
        return found.count if found is not None and found.precision == "EXACT" else None


def _storable_part(value: Any) -> Any:
    """The value with each text that no database can hold as None, or left out of its list."""
    if isinstance(value, str):
        return value if is_storable(value) else None
    if isinstance(value, list):
        return [part for part in map(_storable_part, value) if part is not None]
    return {key: _storable_part(part) for key, part in value.items()} if isinstance(value, dict) else value


def _time(reply: Reply, node: Listed, name: Time) -> datetime:
    at = node.updated_at if name == "updated_at" else node.created_at
    if at is None:
        raise reply.sent.malformed(MalformedError(f"a customer in a list has no {name}"))
    return utc(at)
