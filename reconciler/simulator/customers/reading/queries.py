"""Reads of a simulated shop: lookups that see every write immediately, and a search that lags.

Live replies of the Admin API, read 2026-11-23: `customers(query:)` uses a search index, which contains a change only
`search_lag_s` seconds later; `customerByIdentifier`, `customer`, `node`, `nodes` and lists without a query do not.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from reconciler.simulator.customers.reading.search import COUNTABLE, Query, read_query, sort_value
from reconciler.simulator.customers.reading.views import CustomerView, address_view
from reconciler.simulator.customers.records import SimCustomer
from reconciler.simulator.customers.tags import Tagging
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.graphql.paging import Key, connection, page_of, page_size, read_cursor
from reconciler.simulator.ledger import top_level
from reconciler.simulator.metafields.views import DefinitionView, MetafieldView

SORTED_MAX: Final = 25_000
"""The end of a list by search or in another order than by id."""


class Reading(Tagging):
    _sorted: tuple[Any, list[SimCustomer]] | None = None
    """The last sorted list with its arguments, for the next page."""

    # --- points ---------------------------------------------------------------------------------------------------

    def customer(self, id: str) -> CustomerView | None:  # noqa: A002 - Shopify's name
        return self.view(self.find(id))

    def customer_by_identifier(self, identifier: Json) -> CustomerView | None:
        name, value = next(iter(identifier.items()))
        if name == "id":
            return self.customer(value)
        if name == "customId":
            return self.view(self.people.with_unique(self.id_definition(value), value["value"]))
        return self.view(self.with_contact("email" if name == "emailAddress" else "phone", value))

    def view(self, customer: SimCustomer | None) -> CustomerView | None:
        return None if customer is None else CustomerView(self, customer)

    def node(self, id: str) -> Any:  # noqa: A002 - Shopify's name
        kind, number = _read_gid(id)
        if kind == "Customer":
            return self.customer(id)
        return self.other_node(kind, number)

    def nodes(self, ids: list[str]) -> list[Any]:
        return [self.node(each) for each in ids]

    def other_node(self, kind: str, number: int) -> Any:
        """A node that is not a customer."""
        if kind == "Shop":
            return self.shop()
        if kind == "MetafieldDefinition":
            return next(
                (DefinitionView(self, each) for each in self.definitions.values() if each.number == number), None
            )
        for customer in self.people if kind in {"Metafield", "MailingAddress"} else ():
            for metafield in customer.metafields if kind == "Metafield" else ():
                if metafield.number == number:
                    return MetafieldView(self, metafield, CustomerView(self, customer))
            for address in customer.rare.addresses if customer.rare and kind == "MailingAddress" else ():
                if address.number == number:
                    return address_view(address)
        return None

    # --- lists ----------------------------------------------------------------------------------------------------

    def customers(
        self,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
        query: str | None = None,
        sort_key: str = "ID",
        *,
        reverse: bool = False,
    ) -> Json:
        asked = read_query(query, self.habits)
        if not query and sort_key == "ID":
            return self._by_number(first, last, after, before, reverse=reverse)
        value = sort_value(sort_key)

        def key(customer: SimCustomer) -> Key:
            return (value(customer), customer.number)

        page = page_of(
            self._search(asked, sort_key),
            key=key,
            view=lambda each: CustomerView(self, each),
            first=first, last=last, after=after, before=before, reverse=reverse,
            by_number=sort_key in {"ID", "RELEVANCE"},
        )  # fmt: skip
        return page | {"__search": asked.search}

    def customers_count(self, limit: int | None = 10_000, query: str | None = None) -> Json:
        """The count. Filters by id, created_at and updated_at only; other filters are ignored."""
        asked = read_query(query, self.habits, COUNTABLE)
        count = sum(1 for each in self.people if asked.matches(each)) if query else len(self.people)
        if limit is not None and count > limit:
            return {"count": limit, "precision": "AT_LEAST", "__search": asked.search}
        return {"count": count, "precision": "EXACT", "__search": asked.search}

    def _by_number(
        self, first: int | None, last: int | None, after: str | None, before: str | None, *, reverse: bool
    ) -> Json:
        """A page in the order of ids, without reading earlier pages."""
        size, from_end = page_size(first, last)
        start = None if after is None else read_cursor(after, by_number=True)[1]
        stop = None if before is None else read_cursor(before, by_number=True)[1]
        low, high = (stop, start) if reverse else (start, stop)
        if from_end == reverse:
            rows = self.people.after(-1 if low is None else low)
            found = list(islice(_until(rows, high), size + 1))
            chosen, more = found[:size], len(found) > size
            page, before_it, after_it = chosen, low is not None, more or high is not None
        else:
            found = list(islice(_down_to(self.people.before(high), low), size + 1))
            chosen, more = found[:size], len(found) > size
            page, before_it, after_it = chosen[::-1], more or low is not None, high is not None
        if reverse:
            page, before_it, after_it = page[::-1], after_it, before_it
        return connection(
            page,
            key=lambda each: (None, each.number),
            view=lambda each: CustomerView(self, each),
            has_next=after_it,
            has_previous=before_it,
        )

    def _search(self, asked: Query, sort_key: str) -> list[SimCustomer]:
        """The matching customers, sorted, up to the limit; cached for the next page until a change."""
        mark = (asked.text, sort_key, self.people.version)
        lagging = bool(self._index_lags())
        if self._sorted is not None and self._sorted[0] == mark and not lagging:
            return self._sorted[1]
        found = self.matching(asked)
        value = sort_value(sort_key)
        if sort_key in {"ID", "RELEVANCE"}:
            found.sort(key=lambda each: each.number)
        else:
            found.sort(key=lambda each: (value(each), each.number))
        found = found[:SORTED_MAX]
        self._sorted = None if lagging else (mark, found)
        return found

    def matching(self, asked: Query) -> list[SimCustomer]:
        """The customers that match in the index, with their current values; deleted ones are omitted."""
        old = self._index_lags()
        matches = asked.matches
        found = [each for each in self.people if each.number not in old and matches(each)]
        for number, before in old.items():
            live = self.people.by_number.get(number)
            if before is not None and live is not None and matches(before):
                found.append(live)
        return found

    def _index_lags(self) -> dict[int, SimCustomer | None]:
        """The customers with an outdated index entry: their old values, or None if the index lacks them."""
        since = self.now() - self.search_lag_s
        old: dict[int, SimCustomer | None] = {}
        for at, number, before in self.history:
            if at > since:
                old.setdefault(number, before)
        return old


def _read_gid(text: str) -> tuple[str, int]:
    parts = text.partition("?")[0].split("/")
    if text.startswith("gid://shopify/") and len(parts) == len(("gid:", "", "shopify", "kind", "number")):
        tail = parts[4]
        if tail.isdigit():
            return parts[3], int(tail)
        return parts[3], -1
    raise top_level(f"Invalid id: {text}", "RESOURCE_NOT_FOUND")


def _until(rows: Iterator[SimCustomer], number: int | None) -> Iterator[SimCustomer]:
    for each in rows:
        if number is not None and each.number >= number:
            return
        yield each


def _down_to(rows: Iterator[SimCustomer], number: int | None) -> Iterator[SimCustomer]:
    for each in rows:
        if number is not None and each.number <= number:
            return
        yield each
