"""Whatever a shop answers, all that comes of it is an error of its store: a search over the shapes of every reply we read.

Each run is a seed: the simulated shop spoils its replies by it, and a failure is repeated with the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from starlette.responses import Response

from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.store import Ceiling, Guards, MetafieldRule, Store
from reconciler.core.model.write import (
    AddTags,
    Create,
    Delete,
    DeleteMetafields,
    Link,
    Merge,
    RemoveTags,
    RequestErasure,
    SetMetafields,
    Unlink,
    Update,
)
from reconciler.errors import ReconcilerError
from reconciler.shopify.api.auth import ClientCredentials, FixedToken
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.pace import Pace
from reconciler.shopify.bulk.reader import ShopBulkReader
from reconciler.shopify.bulk.writer import ShopBulkWriter
from reconciler.shopify.customers import ShopCustomers
from reconciler.shopify.listing import ShopCustomerLists
from reconciler.shopify.setup import ShopSetup
from reconciler.simulator.hostile import Hostile, HostileKind
from tests.inprocess import API_VERSION, TOKEN, InProcess, Rig, VirtualClock, _Waiting

SHAPES: tuple[HostileKind, ...] = ("shape", "shape", "shape", "text", "numbers", "nan", "deep", "twice")
ADA, BOB = ClerkUserId("user_ada"), ClerkUserId("user_bob")
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
STORE = Store(
    name=StoreName("acme"),
    shop=ShopDomain("acme.myshopify.com"),
    tags=("app-user",),
    on_email_conflict="merge",
    guards=Guards(update=Ceiling(max=9), merge=Ceiling(max=9)),
    metafields={"clerk.avatar_url": MetafieldRule.model_validate({"from": "image_url", "type": "url"})},
)
OTHER = STORE.model_copy(update={"name": StoreName("other"), "shop": ShopDomain("other.myshopify.com")})


class Spoiling(httpx.BaseTransport):
    """A transport that spoils replies, once it is set how."""

    def __init__(self, honest: InProcess) -> None:
        self._honest = honest
        self.hostile: Hostile | None = None
        self.shop = STORE.shop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.startswith("/admin/api/"):
            return httpx.Response(201)  # a file
        reply = self._honest.handle_request(request)
        if self.hostile is None or request.url.host != self.shop:
            return reply
        spoilt = self.hostile.spoilt(Response(reply.content, reply.status_code, media_type="application/json"))
        return httpx.Response(spoilt.status_code, content=bytes(spoilt.body), request=request)


class Spoilt(Rig):
    """A rig with two shops, one of which may be made hostile."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.spoiling = Spoiling(self.transport)
        self.transport = self.spoiling  # type: ignore[assignment]
        for store in (STORE, OTHER):
            self.add(store, restore_rate=1000)


seeds = st.tuples(st.sampled_from(SHAPES), st.integers(0, 2**32))
# A seed is as small as it gets.
few = settings(max_examples=settings().max_examples // 4, phases=(Phase.explicit, Phase.generate))


@few
@given(seeds)
def test_a_hostile_shop_is_an_error_of_its_store_and_the_other_is_served(seed: tuple[HostileKind, int]) -> None:
    with TemporaryDirectory() as folder, Spoilt(Path(folder)) as rig:
        for name in ("user_ada", "user_bob", "user_cleo"):
            rig.user(name, email=f"{name}@example.com", first_name="A", image_url="https://img.example.com/a.png")
        rig.cycle()
        rig.user("user_ada", first_name="Ada")
        rig.user("user_bob", email="guest@example.com")
        for name in ("acme", "other"):
            rig.sim(name).staff("create", email="guest@example.com")
        rig.user("user_dora", email="dora@example.com")
        rig.spoiling.hostile = Hostile(*seed)
        cycle = rig.cycle()
        plans = {p.store: p for p in cycle.planned.plan.stores}
        assert plans[OTHER.name].error is None
        assert {a.kind for a in plans[OTHER.name].actions} == {"create", "update", "merge"}
        assert all(o.result == "applied" for o in rig.apply(rig.plan(["other"])))
        assert [p.actions for p in rig.plan(["other"]).plan.stores] == [()]
        rig.spoiling.hostile = None


def said_by(call: Callable[[], object]) -> str:
    """The words of the error of ours that this ends in; none where it gives something."""
    try:
        call()
    except ReconcilerError as error:
        return error.message
    return ""


def calls(client: ShopClient) -> list[Callable[[], object]]:
    """Everything that we ask of a shop, and that we tell it."""
    customers, lists = ShopCustomers(client, STORE, sleep=lambda _s: None), ShopCustomerLists(client, STORE)
    reader, writer, setup = ShopBulkReader(client, STORE), ShopBulkWriter(client, STORE), ShopSetup(client)
    one, two = CustomerId("gid://shopify/Customer/1"), CustomerId("gid://shopify/Customer/2")
    operation = "gid://shopify/BulkOperation/1"
    url = {"clerk.avatar_url": ("https://img.example.com/a.png", "url")}
    return [
        lambda: customers.by_ids([one, two]),
        lambda: customers.by_backlinks([ADA, BOB]),
        lambda: customers.by_emails([f"a{n}@example.com" for n in range(20)]),
        lambda: customers.by_phones(["+16135550100"]),
        lambda: customers.merge_blockers(one, two),
        lambda: customers.send(Create(ADA, {"email": "ada@example.com"})),
        lambda: customers.send(Update(one, {"first_name": "Ada"})),
        lambda: customers.send(AddTags(one, ["a"])),
        lambda: customers.send(RemoveTags(one, ["a"])),
        lambda: customers.send(SetMetafields({one: url})),
        lambda: customers.send(DeleteMetafields(one, ["clerk.avatar_url"])),
        lambda: customers.send(Link(one, ADA)),
        lambda: customers.send(Unlink(one)),
        lambda: customers.send(Merge(one, two, keep_email_of=two)),
        lambda: customers.send(Delete(one)),
        lambda: customers.send(RequestErasure(one)),
        lambda: list(lists.updates_since(SINCE)),
        lambda: list(lists.newest()),
        lists.count,
        setup.facts,
        lambda: setup.definition("clerk", "user_id"),
        setup.subscriptions,
        lambda: setup.create_definition("clerk", "user_id"),
        lambda: setup.subscribe("CUSTOMERS_UPDATE", "https://hooks.example.com/x"),
        reader.start,
        lambda: reader.state(operation),
        lambda: reader.cancel(operation),
        lambda: list(reader.lines(operation)),
        lambda: writer.upload("customers", [Update(one, {"first_name": "A"})]),
        lambda: writer.run("customers", "tmp/x", "mark"),
        lambda: writer.find("mark"),
    ]


@few
@given(seeds)
def test_each_call_gives_what_it_promises_or_an_error_of_ours(seed: tuple[HostileKind, int]) -> None:
    with TemporaryDirectory() as folder, Spoilt(Path(folder)) as rig:
        for n in (1, 2):
            rig.sim("acme").staff("create", email=f"a{n}@example.com", first_name="A", note="n", tags=["a", "b"])
        client = rig.clients[STORE.shop]
        rig.spoiling.hostile = Hostile(*seed)
        for call in calls(client):
            said = said_by(call)
            assert len(said.encode()) < 3_000


@few
@given(seeds)
def test_the_token_endpoint_gives_a_token_or_an_error_of_ours(seed: tuple[HostileKind, int]) -> None:
    hostile = Hostile(*seed)

    def answer(request: httpx.Request) -> httpx.Response:
        honest: dict[str, Any] = {"access_token": "shpat_x", "scope": "read_customers", "expires_in": 86399}
        if "oauth" not in request.url.path:
            return httpx.Response(200, json={"data": {"shop": {"id": "gid://shopify/Shop/1"}}})
        return httpx.Response(200, content=hostile.text_of(honest).encode())

    client = ShopClient(
        STORE.shop,
        auth=ClientCredentials("id", "secret"),
        api_version=API_VERSION,
        transport=httpx.MockTransport(answer),
    )
    asking = ShopCustomers(client, STORE)
    assert len(said_by(lambda: asking.send(RequestErasure(CustomerId("gid://shopify/Customer/1")))).encode()) < 3_000


@pytest.mark.parametrize("status", ["NaN", "inf", "1e308", "-5", "99999999999999999999", "x" * 10_000, "Thu, 99 Foo"])
def test_an_odd_retry_after_is_an_hour_at_most(status: str) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, headers={"Retry-After": status, "Date": status})

    client = ShopClient(
        STORE.shop, auth=FixedToken(TOKEN), api_version=API_VERSION, transport=httpx.MockTransport(answer),
        pace=Pace(clock=(clock := VirtualClock()), signal=_Waiting(clock)),
    )  # fmt: skip
    with pytest.raises(ReconcilerError) as caught:
        ShopSetup(client).facts()
    wait_s = getattr(caught.value, "retry_after_s", None)
    assert wait_s is None or 0 <= wait_s <= 3600
