"""Whole cycles without sockets: real readers, writers and state over simulated shops in this process, on a virtual clock.

`Rig` is the whole product but for wiring and settings: it observes, decides, executes and records as the command line
does. Nothing waits: what would wait for points moves the clock instead. One thread works at a time, so that a run can
be repeated.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx
from sqlalchemy import Engine, event

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.context import StoreContext
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.readers import Readers
from reconciler.controller.reconcile import reconcile
from reconciler.controller.scan.plan import scan_store
from reconciler.controller.scan.spool import IN_MEMORY, Spool
from reconciler.controller.step import Outcome, ReconcileResult
from reconciler.core.fields import normalise
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.plan.gather import ScanResult, with_withheld
from reconciler.core.plan.plan import Plan, build_plan
from reconciler.shopify.api.auth import FixedToken
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.pace import Pace
from reconciler.shopify.customers import ShopCustomers
from reconciler.shopify.setup import ShopSetup
from reconciler.simulator.app import make_app
from reconciler.simulator.customers.records import SimCustomer, rare
from reconciler.simulator.graphql.calls import LostAnswer, answer, read_call
from reconciler.simulator.ledger import gid
from reconciler.simulator.world import Call, SimShop, World
from reconciler.state.database.engine import open_engine
from tests.state_store import StateStore
from tests.states import state_template

START = 1_795_000_000.0  # 2026-11-18
TOKEN = "shpat_inprocess"
API_VERSION = "2026-10"


class VirtualClock:
    """The time for everybody: ports.Clock, seconds for the simulator, and seconds for the pacing."""

    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class _Waiting(threading.Condition):
    """A condition on which waiting for some seconds means that they are over."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._moved = clock

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is None:
            return super().wait(10.0)
        self._moved.sleep(timeout)
        return True


class Died(BaseException):
    """Our process ends here: what catches it is no part of the product."""


class InProcess(httpx.BaseTransport):
    """Answers from the simulated shop that the host names. A dropped connection is a ReadError, as on a socket.

    `dies_at`: at the n-th mutation from now on the process dies, after it was executed (`after_it`) or before. `coming` is
    called with the root fields and variables of each call before the shop sees it, `seen` with those of each mutation after
    it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._ids = count(1)
        self.dies_at: int | None = None
        self.after_it = False
        self.coming: Callable[[tuple[str, ...], dict[str, Any]], None] = lambda _roots, _variables: None
        self.seen: Callable[[tuple[str, ...], dict[str, Any]], None] = lambda _roots, _variables: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sim = self._world.shops[request.url.host]
        version = self._world.version(request.url.path.split("/")[3])
        token = request.headers.get("x-shopify-access-token")
        request_id = f"{next(self._ids):08x}"
        call = read_call(request.headers.get("content-type", ""), request.read(), token, request_id)
        self.coming(call.roots, call.variables)
        dies = self._dies(call.kind)
        if dies and not self.after_it:
            raise Died
        _, fault = sim.faults.take(call.roots, call.variables)
        answered = answer(self._world, sim, call, fault)
        response = answered.response
        sim.note(
            Call(self._world.clock(), call.kind, call.roots, answered.cost, response.status_code, answered.outcome)
        )
        if call.kind == "mutation":
            self.seen(call.roots, call.variables)
        if dies:
            raise Died
        if isinstance(response, LostAnswer):
            raise httpx.ReadError("the simulator dropped the connection", request=request)
        headers = {**response.headers, "X-Shopify-API-Version": version or "", "X-Request-Id": request_id}
        return httpx.Response(response.status_code, headers=headers, content=bytes(response.body), request=request)

    def _dies(self, kind: str) -> bool:
        if self.dies_at is None or kind != "mutation":
            return self.dies_at is not None and self.dies_at <= 0
        self.dies_at -= 1
        return self.dies_at <= 0


class Storage:
    """Serves the files of bulk operations, which are not under `/admin/`."""

    def __init__(self, world: World) -> None:
        self._app = make_app(world)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        try:
            got = await httpx.ASGITransport(self._app).handle_async_request(sent)
        except ConnectionResetError:
            raise httpx.ReadError("the storage dropped the connection", request=request) from None
        return httpx.Response(got.status_code, content=await got.aread(), request=request)


class Rows:
    """The profile table: ports.ProfileReader over a dict. `page` is how many rows a scan gives at a time."""

    def __init__(self) -> None:
        self.rows: dict[ClerkUserId, Profile] = {}
        self.page: int | None = None
        self.backwards = False

    def check(self) -> tuple[str, ...]:
        """It can always be seen in full."""
        return ()

    def count(self, *, at_most: int | None = None) -> int:
        return len(self.rows) if at_most is None else min(len(self.rows), at_most)

    def scan(self, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Profile]]:
        yield from self._paged((self.rows[u] for u in sorted(self.rows) if after is None or u > after), chunk)

    def get(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        return {u: self.rows[u] for u in self._turned(sorted(users)) if u in self.rows}

    def changes_since(self, at: datetime, *, overlap_s: float, chunk: int = 1000) -> Iterator[list[Profile]]:
        since = at - timedelta(seconds=overlap_s)
        fresh = (p for _, p in sorted(self.rows.items()) if p.updated_at is None or p.updated_at >= since)
        yield from self._paged(fresh, chunk)

    def users_without_row(self, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        return frozenset(u for u in users if u not in self.rows)

    def sharing_email(self, emails: Collection[str] | None = None, *, enough: int | None = None) -> list[Profile]:
        by_key: dict[str, list[Profile]] = {}
        for profile in self.rows.values():
            key = normalise.email_key(profile.email)
            if key is not None and not profile.deleted:
                by_key.setdefault(key, []).append(profile)
        if emails is None:
            return self._turned([p for sharing in by_key.values() if len(sharing) > 1 for p in sharing])
        found = [sorted(by_key.get(email, ()), key=lambda p: p.clerk_user_id)[:enough] for email in sorted(emails)]
        return self._turned([profile for sharing in found for profile in sharing])

    def _turned(self, items: list[Any]) -> list[Any]:
        return items[::-1] if self.backwards else items

    def _paged(self, profiles: Iterable[Profile], chunk: int) -> Iterator[list[Profile]]:
        size = self.page or chunk
        page: list[Profile] = []
        for profile in profiles:
            page.append(profile)
            if len(page) == size:
                yield page
                page = []
        if page:
            yield page


@dataclass(slots=True)
class Planned:
    """A plan and what was found on the way."""

    plan: Plan
    scans: dict[StoreName, ScanResult]


@dataclass(slots=True)
class Cycle:
    """One look and one apply: what was planned, what became of it, and how many mutations it took."""

    planned: Planned
    outcomes: list[Outcome] = field(default_factory=list)
    mutations: int = 0

    @property
    def failures(self) -> list[Outcome]:
        return [o for o in self.outcomes if o.result != "applied"]


class Rig:
    """Shops, profiles and state in one hand. Use as a context manager; `folder` holds the state's file."""

    def __init__(self, folder: Path, *stores: Store, **shop_options: Any) -> None:
        self.clock = VirtualClock()
        self.world = World(self.clock)
        self.transport = InProcess(self.world)
        self.profiles = Rows()
        self.stores: dict[StoreName, Store] = {}
        self.warnings: list[str] = []
        self.backwards = False
        self.in_memory_bytes = IN_MEMORY
        """Longer lists of a plan go to a file."""
        self._folder = folder
        self.clients: dict[ShopDomain, ShopClient] = {}
        self._states = 0
        self.engine = self._new_engine()
        self.state = StateStore(self.engine)
        for store in stores:
            self.add(store, **shop_options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for client in self.clients.values():
            client.close()
        self.engine.dispose()

    # --- the outside ----------------------------------------------------------------------------------------------

    def add(self, store: Store, **shop_options: Any) -> SimShop:
        """A store, its simulated shop with what `bootstrap` makes, and no one in it."""
        sim = self.world.add_shop(store.shop, access_token=TOKEN, **shop_options)
        self.stores[store.name] = store
        client = ShopClient(
            store.shop,
            auth=FixedToken(TOKEN),
            api_version=API_VERSION,
            on_warning=self.warnings.append,
            pace=Pace(clock=self.clock, signal=_Waiting(self.clock)),
            transport=self.transport,
        )
        self.clients[store.shop] = client
        ShopSetup(client).create_definition(store.backlink.namespace, store.backlink.key)
        return sim

    def rotate(self, name: str, **policy: Any) -> Store:
        """The store's policy, changed, as an edit of stores.yaml would."""
        store = self.stores[StoreName(name)]
        self.stores[store.name] = Store.model_validate(
            {**store.model_dump(by_alias=True), "trust_email": store.trust_email, **policy}
        )
        return self.stores[store.name]

    def sim(self, name: str) -> SimShop:
        return self.world.shops[self.stores[StoreName(name)].shop]

    def user(self, name: str, **values: Any) -> Profile:
        """The user's row, written or changed: `email` comes verified unless it is said otherwise."""
        self.clock.sleep(1)
        before = self.profiles.rows.get(ClerkUserId(name))
        old = {} if before is None else before.model_dump()
        given = {"email_verified": True, **old, **values, "clerk_user_id": name, "updated_at": self.clock.now()}
        profile = Profile.model_validate(given)
        self.profiles.rows[profile.clerk_user_id] = profile
        return profile

    def leave(self, name: str) -> None:
        """The user's row goes away."""
        self.clock.sleep(1)
        self.profiles.rows.pop(ClerkUserId(name), None)

    def lose_state(self) -> None:
        """The state's database is gone, and an empty one in its place."""
        self.engine.dispose()
        self.engine = self._new_engine()
        self.state = StateStore(self.engine)

    def _new_engine(self) -> Engine:
        """An empty state of its own."""
        self._states += 1
        path = self._folder / f"state-{self._states}.db"
        path.write_bytes(state_template())
        return _unsynced(path)

    # --- the product ----------------------------------------------------------------------------------------------

    def customers(self, store: Store) -> ShopCustomers:
        return ShopCustomers(self.clients[store.shop], store, sleep=self.clock.sleep)

    def readers(self, store: Store) -> Readers:
        return Readers(self.profiles, self.customers(store), self.state)

    def store_context(self, store: Store, *, explicit: bool = False) -> StoreContext:
        return StoreContext(
            store=store,
            readers=self.readers(store),
            writer=self.customers(store),
            state=self.state,
            clock=self.clock,
            warn=self.warnings.append,
            workers=1,
            explicit=explicit,
        )

    def plan(
        self,
        stores: Collection[str] | None = None,
        users: Collection[str] | None = None,
        *,
        explicit: bool = False,
        guards: bool = True,
    ) -> Planned:
        """Look, and decide."""
        ask = ObserveOptions(
            now=self.clock.now(),
            users=None if users is None else [ClerkUserId(u) for u in users],
            explicit=explicit,
            guards=guards,
        )
        new_series = partial(Spool, in_memory_bytes=self.in_memory_bytes)
        found = {
            s.name: scan_store(s, self.readers(s), ask, new_series=new_series)
            for s in self._ordered()
            if stores is None or s.name in stores
        }
        return Planned(build_plan((s.plan for s in found.values()), created_at=ask.now), found)

    def apply(
        self, what: Planned, *, fresh: bool = True, explicit: bool = False, approve: bool = False
    ) -> list[Outcome]:
        """Carry out what was planned, store by store."""
        outcomes: list[Outcome] = []
        for name, scan_result in what.scans.items():
            let = with_withheld(scan_result) if approve else scan_result
            outcomes.extend(apply_plan(let, self.store_context(self.stores[name], explicit=explicit), fresh=fresh))
        return outcomes

    def cycle(
        self,
        stores: Collection[str] | None = None,
        users: Collection[str] | None = None,
        *,
        explicit: bool = False,
        approve: bool = False,
    ) -> Cycle:
        """Plan and apply, once."""
        before = self.mutations()
        cycle = Cycle(self.plan(stores, users, explicit=explicit))
        cycle.outcomes = self.apply(cycle.planned, explicit=explicit, approve=approve)
        cycle.mutations = self.mutations() - before
        return cycle

    def requested(self, store: str, *users: str, turns: int = 40) -> list[tuple[str, ReconcileResult]]:
        """These requests worked on one by one, as a worker of `run` does, and then the users that they nudge.

        A request that waits or failed is not looked at again by itself: only a nudge brings it back here.
        """
        queue = [ClerkUserId(u) for u in users]
        done: list[tuple[str, ReconcileResult]] = []
        context = self.store_context(self.stores[StoreName(store)])
        while queue and len(done) < turns:
            user = queue.pop(0)
            found = reconcile(user, context, self.state)
            done.append((user, found))
            queue += [u for u in found.nudge if u not in queue]
        return done

    def _ordered(self) -> list[Store]:
        stores = sorted(self.stores.values(), key=lambda s: s.name)
        return stores[::-1] if self.backwards else stores

    @contextmanager
    def dying(self, mutation: int, *, after: bool) -> Iterator[None]:
        """Within, the process dies at this mutation (1 is the next), before it is executed or after."""
        self.transport.dies_at, self.transport.after_it = mutation, after
        try:
            yield
        except Died:
            pass
        finally:
            self.transport.dies_at = None

    # --- what can be seen -----------------------------------------------------------------------------------------

    def mutations(self) -> int:
        """Mutations that ran in any shop so far."""
        return sum(sim.mutations for sim in self.world.shops.values())

    def mapping(self, store: str, user: str) -> Mapping | None:
        shop = self.stores[StoreName(store)].shop
        return self.state.get(shop, [ClerkUserId(user)]).get(ClerkUserId(user))

    def mappings(self, store: str) -> list[Mapping]:
        return [m for chunk in self.state.scan(self.stores[StoreName(store)].shop) for m in chunk]

    def people(self, store: str) -> dict[CustomerId, Shown]:
        """Every customer of the shop, whole."""
        link = self.stores[StoreName(store)].backlink
        sim = self.sim(store)
        found = (shown(c, f"{link.namespace}.{link.key}") for c in sim.shop.people)
        return {each.id: each for each in found}

    def of_user(self, store: str, user: str) -> Shown | None:
        """The customer that carries the user's back-link."""
        return next((c for c in self.people(store).values() if c.backlink == user), None)


@dataclass(frozen=True, slots=True)
class Shown:
    """One customer with everything the shop keeps. `rest` is what is never ours, as JSON."""

    id: CustomerId
    email: str | None
    first_name: str | None
    last_name: str | None
    phone: str | None
    locale: str
    note: str | None
    tags: tuple[str, ...]
    backlink: str | None
    metafields: dict[str, str]
    orders: int
    rest: str


def shown(customer: SimCustomer, link: str) -> Shown:
    """A customer's record as values that don't change any more."""
    metafields = {f"{m.namespace}.{m.key}": m.value for m in customer.metafields}
    rest = {**asdict(rare(customer)), "state": customer.state, "created_at": customer.created_at}
    return Shown(
        id=CustomerId(gid("Customer", customer.number)),
        email=customer.email,
        first_name=customer.first_name,
        last_name=customer.last_name,
        phone=customer.phone,
        locale=customer.locale,
        note=customer.note,
        tags=customer.tags,
        backlink=metafields.pop(link, None),
        metafields=metafields,
        orders=customer.orders,
        rest=json.dumps(rest, sort_keys=True, default=sorted),
    )


def _unsynced(path: Path) -> Engine:
    """A state that need not survive a power cut: what is tested here is the death of a process."""
    engine = open_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=OFF")
        cursor.close()

    return engine
