"""One server for all tests of a worker, its door emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.server.doors import MemoryDoor, Noon, options, serving


@pytest.fixture(scope="session")
def shared_door() -> MemoryDoor:
    return MemoryDoor()


@pytest.fixture(scope="session")
def shared_clock() -> Noon:
    return Noon()


@pytest.fixture(scope="session")
def shared_client(shared_door: MemoryDoor, shared_clock: Noon) -> Iterator[httpx.Client]:
    with serving(shared_door, options(clock=shared_clock)) as client:
        yield client


@pytest.fixture
def door(shared_door: MemoryDoor) -> MemoryDoor:
    """What was written down in this test."""
    shared_door.empty()
    return shared_door


@pytest.fixture
def clock(shared_clock: Noon) -> Noon:
    """The server's clock: noon, until it is moved on."""
    shared_clock.reset()
    return shared_clock


@pytest.fixture
def http(shared_client: httpx.Client, door: MemoryDoor, clock: Noon) -> httpx.Client:
    """A client of a server with a token, Clerk, two shops and one without a secret."""
    shared_client.cookies.clear()
    return shared_client
