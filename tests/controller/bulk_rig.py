"""The rig of tests/inprocess.py with bulk operations, in a process that may die at any moment and be started again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import event

from reconciler.controller.bulk.context import PIECE, BulkContext
from reconciler.controller.context import StoreContext
from reconciler.controller.step import Outcome
from reconciler.core.model.event import Event
from reconciler.core.model.ids import StoreName
from reconciler.core.model.json import json_of
from reconciler.core.model.store import Store
from reconciler.shopify.bulk.writer import FILE_BYTES_MAX, ShopBulkWriter
from tests.core.people import store
from tests.inprocess import Died, InProcess, Rig, Storage

NAME = StoreName("acme")
RULES = {
    "clerk.avatar": {"from": "image_url", "type": "url"},
    "clerk.tier": {"from": "metadata.tier"},
}


def acme(**policy: Any) -> Store:
    guards = {k: {"max": 9999} for k in ("create", "adopt", "update", "relink", "merge", "release")}
    return store(**{"guards": guards, "tags": ["app-user"], "metafields": RULES, "country": "US", **policy})


class WithFiles(InProcess):
    """Serves the files of bulk operations too. `left` crossings more, then the process is dead: nothing gets through.

    A crossing is a call that is about to leave, an answer that has just come, or a transaction about to be committed.
    """

    def __init__(self, rig: BulkRig) -> None:
        super().__init__(rig.world)
        self._storage = Storage(rig.world)
        self.left: int | None = None
        self.crossings = 0
        self.tokens_leaked = 0
        self.tampered: Callable[[list[bytes]], list[bytes]] | None = None
        """What becomes of a result's lines on their way; sizes stay what they were."""

    def cross(self) -> None:
        self.crossings += 1
        if self.left is not None:
            self.left -= 1
        self.check()

    def check(self) -> None:
        if self.left is not None and self.left < 0:
            raise Died

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.cross()
        if request.url.path.startswith("/admin/"):
            response = super().handle_request(request)
        else:
            self.tokens_leaked += "x-shopify-access-token" in request.headers
            response = self._tamper(self._storage.handle_request(request))
        self.cross()
        return response

    def _tamper(self, response: httpx.Response) -> httpx.Response:
        if self.tampered is None or response.request.method != "GET" or response.status_code != 200:
            return response
        lines = self.tampered(response.content.splitlines())
        body = b"\n".join(lines).ljust(len(response.content))
        return httpx.Response(200, content=body, request=response.request)


class BulkRig(Rig):
    """One store with plans that go by bulk, however small; `by_bulk` False: one by one, as everything does without it."""

    def __init__(
        self, folder: Path, *, by_bulk: bool = True, lines_min: int = 10, rate: float = 100, **policy: Any
    ) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.files = WithFiles(self)
        self.transport = self.files
        self.by_bulk = by_bulk
        self.lines_min = lines_min
        self.piece_lines = PIECE
        self.always = True
        self.file_bytes_max = FILE_BYTES_MAX
        self.naps: list[float] = []
        self.while_waiting: Callable[[], None] = lambda: None
        self.add(acme(**policy), restore_rate=rate)
        self.acme = self.sim(NAME)
        self.acme.shop.bulk_rows_per_look = 7
        engine = self.engine

        @event.listens_for(engine, "begin")
        def begin(_connection: Any) -> None:
            self.files.check()

        @event.listens_for(engine, "commit")
        def commit(_connection: Any) -> None:
            self.files.cross()

    def writer(self, **options: Any) -> ShopBulkWriter:
        one = self.stores[NAME]
        return ShopBulkWriter(self.clients[one.shop], one, **options)

    def store_context(self, store: Store, *, explicit: bool = False) -> StoreContext:
        context = super().store_context(store, explicit=explicit)
        if not self.by_bulk:
            return context
        bulk = BulkContext(
            shop=self.writer(file_bytes_max=self.file_bytes_max),
            book=self.state,
            leases=self.state,
            sleep=self._nap,
            always=self.always,
            lines_min=self.lines_min,
            piece_lines=self.piece_lines,
        )
        return replace(context, bulk=bulk)

    def _nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.clock.sleep(seconds)
        self.while_waiting()

    @contextmanager
    def killed_after(self, crossings: int) -> Iterator[None]:
        """Within, the process lives for so many crossings; afterwards another one is started. Nothing is tidied up."""
        self.files.left = crossings
        try:
            yield
        except Died:
            pass
        finally:
            self.files.left = None


def user_of(number: int) -> str:
    return f"user_{number:03}"


def populate(rig: Rig, count: int) -> None:
    for n in range(count):
        rig.user(
            user_of(n),
            email=f"person{n}@x.example.com",
            first_name=f"Person {n}",
            last_name="of Acme",
            phone=f"+1613450{5000 + n}",
            image_url=f"https://img.example.com/{n}.png",
            metadata={"tier": "gold"},
        )


def customers(rig: Rig) -> dict[str, Any]:
    """Every customer whole, but for ids and times."""
    found = {}
    for shown in rig.people(NAME).values():
        rest = {k: v for k, v in json.loads(shown.rest).items() if not k.endswith("_at")}
        found[str(shown.backlink or shown.email)] = (
            shown.email, shown.first_name, shown.last_name, shown.phone, shown.locale, shown.note, shown.tags,
            shown.metafields, shown.orders, rest,
        )  # fmt: skip
    return found


def rows(rig: Rig) -> dict[str, Any]:
    """Every mapping whole, but for ids, times (those of what was healed among them), and how many writes it took."""
    aside = {"customer_id", "generation", "first_seen_at", "last_seen_at", "left_at", "reason_since"}
    found: dict[str, Any] = {m.clerk_user_id: json_of(m, exclude=aside) for m in rig.mappings(NAME)}
    for row in found.values():
        for applied in row["applied"].values():
            del applied["heals"]
    return found


def told(rig: Rig) -> list[Any]:
    """What was written, in no order. Not as what: a user that a joint call can't serve gets them as an update."""
    events: list[Event] = rig.state.events(limit=100_000)
    return sorted((e.clerk_user_id, json.dumps(json_of(c), sort_keys=True)) for e in events for c in e.changes)


def outcomes(found: list[Outcome]) -> dict[str, tuple[str, str]]:
    return {o.action.clerk_user_id: (o.action.kind, o.result) for o in found}


def check_at_rest(rig: Rig) -> None:
    """A second run does nothing, and nothing is left lying about."""
    cycle = rig.cycle()
    assert (cycle.mutations, cycle.planned.plan.summary.actions) == (0, 0)
    shop = rig.stores[NAME].shop
    assert rig.state.bulk_files(shop) == []
    assert rig.state.bulk_waiting(shop) == {}
