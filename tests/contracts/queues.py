"""Databases with an empty queue, shared by several tests: making one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from reconciler.core.model.ids import ShopDomain
from reconciler.core.model.request import Claim
from reconciler.errors import LeaseLost
from reconciler.state.database.engine import open_engine
from reconciler.state.requests.fenced import FencedMappings
from tests import servers
from tests.conftest import MIGRATED
from tests.states import state_template

SHOP = ShopDomain("acme.myshopify.com")


@contextmanager
def queue_database(request: pytest.FixtureRequest, backend: str, folder: Path) -> Iterator[Engine]:
    """A state of this kind: sqlite, postgres, or pooler (Postgres through PgBouncer)."""
    if backend == "sqlite":
        (file := folder / "queue.db").write_bytes(state_template())
        engine = open_engine(f"sqlite:///{file}")
        event.listen(engine, "connect", _hurry)
        with closing(engine):
            yield engine
        return
    server: servers.Server = request.getfixturevalue("postgres")
    port = request.getfixturevalue("pooler") if backend == "pooler" else None
    name = server.create(template=MIGRATED)
    try:
        with closing(open_engine(server.url(name, port=port))) as engine:
            yield engine
    finally:
        server.drop(name)


def holds(engine: Engine, claim: Claim) -> bool:
    """Whether a write to a shop may still be sent under this claim."""
    try:
        FencedMappings(engine, claim).check_claim(SHOP)
    except LeaseLost:
        return False
    return True


@contextmanager
def closing(engine: Engine) -> Iterator[Engine]:
    """The engine, its connections closed in the end."""
    try:
        yield engine
    finally:
        engine.dispose()


def _hurry(connection: Any, _record: object) -> None:
    """No test here pulls the plug: don't wait for the disk."""
    connection.execute("PRAGMA synchronous=OFF").close()
