"""Full looks that have begun wait for one another, and nobody waits for long."""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler.controller.shared_pass import Begun
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.store import Store
from reconciler.manager.lobby import Lobby, Waiting

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
A, B, C = StoreName("a"), StoreName("b"), StoreName("c")


class Steady:
    """A steady clock that a test moves."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


def waiting(name: StoreName, *, until: float = 10.0) -> Waiting:
    store = Store(name=name, shop=ShopDomain(f"{name}.myshopify.com"))
    return Waiting(Begun(store, AT, None, live=True), AT, whole=False, until=until)


def names(lobby: Lobby) -> list[StoreName]:
    return [one.name for one in lobby.depart()]


def test_whoever_waits_goes_when_the_last_has_come() -> None:
    lobby = Lobby(monotonic=Steady())
    for name in (A, B, C):
        lobby.expect(name)
    lobby.wait(waiting(A))
    lobby.came(A)
    assert names(lobby) == []
    lobby.came(B)  # it does not take part: its look had failed
    assert names(lobby) == []
    lobby.wait(waiting(C))
    lobby.came(C)
    assert names(lobby) == [A, C]
    assert names(lobby) == []


def test_nobody_waits_longer_than_it_is_worth() -> None:
    steady = Steady()
    lobby = Lobby(monotonic=steady)
    lobby.expect(A)
    lobby.expect(B)
    lobby.wait(waiting(A, until=10.0))
    lobby.came(A)
    assert not lobby.is_due()
    steady.at = 10.0
    assert lobby.is_due()
    assert names(lobby) == [A]
    assert not lobby.is_due()
    lobby.wait(waiting(B, until=20.0))
    lobby.came(B)
    assert names(lobby) == [B]


def test_a_store_that_is_asked_for_twice_is_expected_until_it_has_come_twice() -> None:
    lobby = Lobby(monotonic=Steady())
    lobby.expect(A)
    lobby.expect(A)
    lobby.wait(waiting(A))
    lobby.came(A)
    assert names(lobby) == []
    lobby.wait(waiting(A))
    lobby.came(A)
    assert names(lobby) == [A]


def test_a_store_is_held_until_its_look_has_ended() -> None:
    lobby = Lobby(monotonic=Steady())
    assert not lobby.holds(A)
    lobby.expect(A)
    assert lobby.holds(A)
    lobby.wait(waiting(A))
    lobby.came(A)
    assert lobby.holds(A)
    assert names(lobby) == [A]
    assert lobby.holds(A)
    lobby.ended(A)
    assert not lobby.holds(A)
