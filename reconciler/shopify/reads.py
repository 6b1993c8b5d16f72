"""ports.CustomerReader for one shop: point reads in batches; never lists, never the search index.

Hidden fields are listed in `Customer.unknown`; a hidden customer raises AccessError and never counts as absent. The
back-link and the email of a found customer are compared with the requested ones (the email in any spelling), as the
customer may be adopted by them. A phone is not compared if the query itself returns the customer: Shopify matched it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from reconciler.core.fields import normalise
from reconciler.core.model.consent import Channel, Consent
from reconciler.core.model.customer import TRACE_KEY, Customer, MetafieldValue
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.scalars import SCALARS
from reconciler.core.model.store import Store
from reconciler.errors import PartUnreadable, SetupError, TemporaryError
from reconciler.outbound.reading import MalformedError, is_storable
from reconciler.shopify.api.client import Reply, ShopClient
from reconciler.shopify.api.consents import MEMBERS, consent_of
from reconciler.shopify.api.document import (
    CUSTOMER_POINTS,
    Document,
    Identifier,
    customers_by,
    customers_by_ids,
    document,
)
from reconciler.shopify.api.failures import Path, Sent, access_denied
from reconciler.shopify.api.pace import Lane
from reconciler.shopify.api.refusals import merge_reasons, too_much
from reconciler.shopify.api.scalars import OURS_READ, values_in
from reconciler.shopify.api.shapes import ConsentNode, CustomerNode, Identified, MergePreviewReply, MetafieldNode, utc

NO_TEXT: Final = "a valid text in Shopify: this one has U+0000 or a lone surrogate, which no database can store"
IDS_MAX: Final = 250  # Shopify's own limit
IDS_POINTS_MAX: Final = 500  # Shopify refuses calls above 1000; whether `nodes` is charged by id is not certain
LOOKUPS_MAX: Final = 50
LOOKUP_POINTS_MAX: Final = 200
FEW: Final = 8  # up to this number one call is better than two; above it, two are cheaper
OUR_NAME: Final[Mapping[str, str]] = {**OURS_READ, "tags": "tags", "canDelete": "can_delete", "updatedAt": "updated_at"}

Metafields = tuple[tuple[str, str], ...]
Answer = TypeVar("Answer")
Task = TypeVar("Task")


class CustomerReads:
    """The reads of one shop. `lane`: whether its calls precede those of scans."""

    def __init__(self, client: ShopClient, store: Store, *, lane: Lane = "scan") -> None:
        self._client = client
        self._lane: Lane = lane
        self._backlink = (store.backlink.namespace, store.backlink.key)
        rules = [(name, *name.rsplit(".", 1)) for name in store.metafields]
        self._names = ("backlink", *(f"metafields.{name}" for name, _, _ in rules))
        self._metafields = (self._backlink, *((namespace, key) for _, namespace, key in rules))
        self._traced = (*self._metafields, (store.backlink.namespace, TRACE_KEY))
        self._channels = store.consent.channels
        self._points_an_id: float | None = None  # after the first; None until measured

    def by_ids(self, ids: Collection[CustomerId]) -> dict[CustomerId, Customer]:
        return self._all_by_ids(ids, self._metafields)

    def _all_by_ids(self, ids: Collection[CustomerId], metafields: Metafields) -> dict[CustomerId, Customer]:
        asked = list(dict.fromkeys(ids))
        found: dict[CustomerId, Customer] = {}
        if asked and self._points_an_id is None:  # the first batch runs alone, to measure the points for each id
            head = asked[: self._batch()]
            found |= self._by_ids(head, metafields)
            asked = asked[len(head) :]
        for part in self._all(_parts(asked, self._batch()), lambda part: self._by_ids(part, metafields)):
            found |= part
        return found

    def by_backlinks(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Customer]:
        namespace, key = self._backlink
        asked = {u: {"namespace": namespace, "key": key, "value": u} for u in users}

        def shows(user: ClerkUserId, customer: Customer) -> bool:
            return _shows(customer, "backlink", customer.backlink, user)

        found = self._by("customId", asked, self._metafields, shows)
        return {u: c for u, c in found.items() if c.backlink is not None or "backlink" in c.unknown}

    def by_metafield(self, metafield: str, users: Collection[ClerkUserId]) -> dict[ClerkUserId, CustomerId]:
        namespace, _, key = metafield.rpartition(".")
        asked = [(user, {"namespace": namespace, "key": key, "value": user}) for user in dict.fromkeys(users)]
        found: dict[ClerkUserId, CustomerId] = {}
        try:
            for part in self._all(_parts(asked, LOOKUPS_MAX), lambda pairs: self._ids("customId", pairs)):
                found |= part
        except SetupError:  # the definition was deleted, so nothing can be found by it
            return {}
        return found

    def by_emails(self, emails: Collection[str]) -> dict[str, Customer]:
        key = normalise.email_key
        asked = {email: email for email in emails if key(email)}
        found = self._by("emailAddress", asked, self._traced, lambda e, c: _shows(c, "email", key(c.email), key(e)))
        return {e: c for e, c in found.items() if "email" in c.unknown or normalise.is_same_email(c.email, e)}

    def by_phones(self, phones: Collection[str]) -> dict[str, Customer]:
        key = normalise.phone_key
        asked = {phone: phone for phone in phones if key(phone)}
        return self._by("phoneNumber", asked, self._metafields, lambda p, c: _shows(c, "phone", key(c.phone), key(p)))

    def merge_blockers(self, one: CustomerId, other: CustomerId) -> tuple[str, ...]:
        variables = {"one": one, "other": other}
        reply = self._client.run(document("customer_merge_preview"), variables, lane=self._lane)
        preview = reply.as_shape(MergePreviewReply).customer_merge_preview
        blockers = list(merge_reasons(reply.data["customerMergePreview"]["customerMergeErrors"] or ()))
        if preview.blocking_fields and not blockers:
            blockers = [too_much(reply.data["customerMergePreview"]["blockingFields"])]
        return tuple(blockers)

    def restore_rate(self) -> float:
        return self._client.restore_rate()

    # --- by id ----------------------------------------------------------------------------------------------------

    def _batch(self) -> int:
        """The number of ids in one call, which stays far below the limit of points."""
        one = CUSTOMER_POINTS + len(self._traced)
        each = one if self._points_an_id is None else self._points_an_id
        return IDS_MAX if each <= 0 else max(1, min(IDS_MAX, int((IDS_POINTS_MAX - one) / each)))

    def _by_ids(self, ids: Sequence[CustomerId], metafields: Metafields) -> dict[CustomerId, Customer]:
        asking = customers_by_ids(metafields, self._channels)
        points = asking.points + (self._points_an_id or 0) * (len(ids) - 1)
        reply = self._client.run(asking, {"ids": list(ids)}, lane=self._lane, points=points)
        if reply.requested is not None and len(ids) > 1:
            self._points_an_id = max(0.0, (reply.requested - asking.points) / (len(ids) - 1))
        nodes = reply.data.get("nodes")
        if not isinstance(nodes, list) or len(nodes) != len(ids):
            raise self._not_shown_error(asking, reply, ("nodes",))
        found = {}
        for i, (customer_id, node) in enumerate(zip(ids, nodes, strict=True)):
            customer = self._customer(asking, reply, ("nodes", i), node)
            if customer is None:
                continue
            if customer.id != customer_id:
                raise reply.sent.malformed_answer(MalformedError(f"nodes.{i} is another customer than requested"))
            found[customer_id] = customer
        return found

    # --- by identifier --------------------------------------------------------------------------------------------

    def _by(
        self,
        identifier: Identifier,
        asked: Mapping[Any, Any],
        metafields: Metafields,
        shows: Callable[[Any, Customer], bool],
    ) -> dict[Any, Customer]:
        """Find the customer for each value; the result has the keys of `asked`.

        For many values, only ids are looked up (one point each instead of four or more), and the found customers are then
        read by id. A customer without the value by then was changed between the two reads, or has another spelling: such a
        value is looked up again, by one query.
        """
        if len(asked) <= FEW or self._points_an_id:
            return self._all_whole(identifier, asked, metafields)
        ids: dict[Any, CustomerId] = {}
        for answer in self._all(_parts(list(asked.items()), LOOKUPS_MAX), lambda pairs: self._ids(identifier, pairs)):
            ids |= answer
        customers = self._all_by_ids(ids.values(), metafields)
        found = {key: customers[id_] for key, id_ in ids.items() if id_ in customers}
        shown = {key: customer for key, customer in found.items() if shows(key, customer)}
        again = {key: asked[key] for key in found if key not in shown}
        return shown | self._all_whole(identifier, again, metafields)

    def _all_whole(
        self, identifier: Identifier, asked: Mapping[Any, Any], metafields: Metafields
    ) -> dict[Any, Customer]:
        each = CUSTOMER_POINTS + len(metafields)
        parts = _parts(list(asked.items()), max(1, min(LOOKUPS_MAX, LOOKUP_POINTS_MAX // each)))
        whole: dict[Any, Customer] = {}
        for part in self._all(parts, lambda pairs: self._whole(identifier, pairs, metafields)):
            whole |= part
        return whole

    def _whole(
        self, identifier: Identifier, pairs: Sequence[tuple[Any, Any]], metafields: Metafields
    ) -> dict[Any, Customer]:
        asking = customers_by(identifier, len(pairs), metafields, self._channels)
        reply = self._client.run(asking, _variables(pairs), lane=self._lane)
        found = {}
        for i, (key, _) in enumerate(pairs):
            customer = self._customer(asking, reply, (f"c{i}",), self._root(asking, reply, f"c{i}"))
            if customer is not None:
                found[key] = customer
        return found

    def _ids(self, identifier: Identifier, pairs: Sequence[tuple[Any, Any]]) -> dict[Any, CustomerId]:
        asking = customers_by(identifier, len(pairs), None)
        reply = self._client.run(asking, _variables(pairs), lane=self._lane)
        if reply.denied:
            raise self._not_shown_error(asking, reply, next(iter(reply.denied)))
        found = {}
        for i, (key, _) in enumerate(pairs):
            node = self._root(asking, reply, f"c{i}")
            if node is not None:
                found[key] = CustomerId(reply.read(node, Identified).id)
        return found

    def _root(self, asking: Document, reply: Reply, name: str) -> object:
        """The result of one look-up. A missing result raises: it does not mean that there is no such customer."""
        if name not in reply.data:
            raise self._not_shown_error(asking, reply, (name,))
        return reply.data[name]

    def _all(self, parts: Sequence[Task], call: Callable[[Task], Answer]) -> list[Answer]:
        """Call each part, as many in parallel as there are connections."""
        if len(parts) <= 1:
            return [call(part) for part in parts]
        with ThreadPoolExecutor(min(len(parts), self._client.connections), thread_name_prefix="read") as pool:
            return list(pool.map(call, parts))

    # --- a reply as our values -------------------------------------------------------------------------------------

    def _customer(self, asking: Document, reply: Reply, at: Path, node: object) -> Customer | None:
        """Parse one customer. PartUnreadable if it is malformed, as the others of the reply may be valid."""
        try:
            return self._parse_customer(asking, reply, at, node)
        except TemporaryError as error:
            raise PartUnreadable(error.message, hint=error.hint) from error

    def _parse_customer(self, asking: Document, reply: Reply, at: Path, node: object) -> Customer | None:
        denied = {path[len(at) :]: needed for path, needed in reply.denied.items() if path[: len(at)] == at}
        if node is None or node == {} or (denied and isinstance(node, Mapping) and node.get("id") is None):
            if denied:
                raise self._not_shown_error(asking, reply, at)
            return None  # {}: the id is not a customer's
        shown = reply.read(node, CustomerNode)
        values = {name: self._metafield(reply, node, f"m{i}") for i, name in enumerate(self._names)}
        trace_at = f"m{len(self._metafields)}"
        unknown = {self._our_name(str(p[0])): needed for p, needed in denied.items() if p and p[0] != trace_at}
        if shown.tags is None and "tags" not in unknown:
            raise reply.sent.malformed_answer(MalformedError("a customer's tags are null"))
        trace = self._trace(reply, node)
        for name, value in values.items():
            if value is not None and not is_storable(value.value):
                values[name], unknown[name] = None, NO_TEXT
        backlink = values.pop("backlink")
        return _readable(
            Customer(
                id=CustomerId(shown.id),
                **dict(zip(SCALARS, values_in(shown), strict=True)),
                tags=tuple(shown.tags or ()),
                backlink=backlink.value if backlink else None,
                moved_to=trace.value if trace else None,
                metafields={name.removeprefix("metafields."): value for name, value in values.items() if value},
                can_delete=shown.can_delete,
                updated_at=utc(shown.updated_at) if shown.updated_at is not None else None,
                unknown=unknown,
                consents=self._consents(reply, node),
            )
        )

    def _consents(self, reply: Reply, node: object) -> dict[Channel, Consent]:
        """The consents that the store manages, of an email or a phone that the customer has and Shopify shows."""
        assert isinstance(node, Mapping)
        there = ((channel, node.get(MEMBERS[channel])) for channel in self._channels)
        return {channel: consent_of(reply.read(member, ConsentNode)) for channel, member in there if member is not None}

    def _trace(self, reply: Reply, node: object) -> MetafieldValue | None:
        """The metafield that says where this customer's user moved; None also if it was not requested."""
        assert isinstance(node, Mapping)
        last = f"m{len(self._metafields)}"
        return self._metafield(reply, node, last) if last in node else None

    def _metafield(self, reply: Reply, node: object, name: str) -> MetafieldValue | None:
        assert isinstance(node, Mapping)
        if name not in node:
            raise reply.sent.malformed_answer(MalformedError(f"a customer has no {name}"))
        if node[name] is None:
            return None
        shown = reply.read(node[name], MetafieldNode)
        return MetafieldValue(value=shown.value, type=shown.type, digest=shown.compare_digest)

    def _our_name(self, field: str) -> str:
        if field[:1] == "m" and field[1:].isdecimal() and len(field) < 5 and int(field[1:]) < len(self._names):  # noqa: PLR2004
            return self._names[int(field[1:])]
        return OUR_NAME.get(field, field)

    def _not_shown_error(self, asking: Document, reply: Reply, at: Path) -> Exception:
        sent = Sent(self._client.shop, asking)
        if reply.denied:
            return access_denied(sent, f"read access to {'.'.join(str(step) for step in at)}")
        return sent.no_answer(f"the response lacks {'.'.join(str(step) for step in at)}")


def _variables(pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    return {f"k{i}": value for i, (_, value) in enumerate(pairs)}


def _parts(items: Sequence[Task], size: int) -> list[Sequence[Task]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _readable(customer: Customer) -> Customer:
    """The customer, with the values that no database can store marked as unknown: they can't be compared or recorded."""
    spoilt = [name for name, value in zip(SCALARS, customer.scalars(), strict=True) if not is_storable(value)]
    is_tagged = all(is_storable(tag) for tag in customer.tags)
    if not spoilt and is_tagged:
        return customer
    unknown = {**customer.unknown, **dict.fromkeys(spoilt, NO_TEXT), **({} if is_tagged else {"tags": NO_TEXT})}
    return customer.changed(dict.fromkeys(spoilt), tags=customer.tags if is_tagged else (), unknown=unknown)


def _shows(customer: Customer, field: str, shown: str | None, asked: str | None) -> bool:
    """Whether the customer has the requested value, or hides it."""
    return field in customer.unknown or shown == asked
