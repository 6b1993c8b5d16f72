"""Customers change their users on several replicas at the same time, on the modelled Postgres."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.errors import StateError
from reconciler.state.database.engine import open_engine
from tests.simulation.postgres import DEADLOCK, Server, open_modelled
from tests.simulation.scheduler import START, Machine, Scheduler
from tests.simulation.ways import Luck, Way
from tests.state_store import StateStore
from tests.states import state_template

SHOP = ShopDomain("acme.myshopify.com")
USERS, CUSTOMERS, WRITES = 8, 2, 5


def row(user: int, customer: int | None) -> Mapping:
    gid = None if customer is None else CustomerId(f"gid://shopify/Customer/{customer}")
    return Mapping(clerk_user_id=ClerkUserId(f"user_{user}"), store=StoreName("acme"), shop=SHOP, customer_id=gid)


@pytest.mark.parametrize("seed", range(2))
def test_no_write_fails_while_users_take_the_same_customers_at_the_same_time(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(state_template())
    scheduler = Scheduler(seed)
    luck = Luck(scheduler, state=0.0, shop=0.0, profiles=0.0)
    server, failed = Server(path, scheduler), []
    engines = [open_modelled(server, Way(scheduler, luck, Machine(f"{n}"), "state")) for n in range(USERS)]

    def work(user: int) -> None:
        for _ in range(WRITES):
            try:
                StateStore(engines[user]).put(row(user, scheduler.dice.randrange(CUSTOMERS)))
            except StateError as error:
                failed.append(error.message)

    for user in range(USERS):
        scheduler.spawn(Machine(f"replica-{user}"), f"user-{user}", lambda user=user: work(user))  # type: ignore[misc]
    scheduler.run(START + 3600.0, lambda: not scheduler.tasks)
    scheduler.end()
    for engine in engines:
        engine.dispose()
    state = open_engine(f"sqlite:///{path}")
    owners = Counter(m.customer_id for chunk in StateStore(state).scan(SHOP) for m in chunk if m.customer_id)
    state.dispose()
    assert (failed, luck.injected[DEADLOCK]) == ([], 0)
    assert set(owners.values()) == {1}
    assert luck.injected["state: waited for a lock"] > WRITES
