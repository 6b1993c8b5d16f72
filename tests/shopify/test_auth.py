"""Tokens: fetched once however many ask, renewed in time, kept before they are used, and never shown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.core.model.ids import ShopDomain
from reconciler.errors import AccessError, StateError, TemporaryError
from reconciler.shopify.api.auth import ClientCredentials, FixedToken, RefreshingToken
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.document import Document
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import ensure_schema
from tests.shopify.conftest import DOMAIN, SSL, Acme
from tests.shopify.scripted import scripted
from tests.state_store import StateStore

READ = Document("read", "query", "query R { shop { name } }", 1)
START = datetime(2026, 11, 25, tzinfo=UTC)


class Time:
    """One clock for both kinds: seconds that only move when set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


class Kept:
    """Where pairs are kept; `broken` makes it fail as a database does."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.broken = False
        self.stored = 0

    def load(self) -> str | None:
        return self.text

    def store(self, text: str) -> None:
        if self.broken:
            raise StateError("the state is away")
        self.stored += 1
        self.text = text


def credentials(time: Time) -> ClientCredentials:
    return ClientCredentials("app", "hush", clock=time)


def rotating(kept: Kept, time: Time, refresh_token: str = "r1") -> RefreshingToken:
    return RefreshingToken("app", "hush", refresh_token, load=kept.load, store=kept.store, now=time.now, clock=time)


def together(work: Callable[[], Any], threads: int = 20) -> None:
    barrier = threading.Barrier(threads)
    errors: list[BaseException] = []

    def main() -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  handed on to the test
            errors.append(error)

    running = [threading.Thread(target=main) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if errors:
        raise errors[0]


def test_twenty_threads_fetch_one_token(acme: Acme) -> None:
    acme.sim.latency_s = 0.02
    client = acme.client(credentials(Time()))
    together(lambda: client.run(READ))
    assert acme.sim.tokens.issued == 1
    assert acme.sim.counts["shop"] == 20


def test_twenty_threads_that_meet_a_revoked_token_fetch_one_other(acme: Acme) -> None:
    client = acme.client(credentials(Time()))
    client.run(READ)
    acme.sim.tokens.revoke_all()
    together(lambda: client.run(READ))
    assert acme.sim.tokens.issued == 2
    assert acme.sim.counts["shop"] == 21


def test_a_token_is_renewed_at_four_fifths_of_its_life_by_one_while_the_others_go_on(acme: Acme) -> None:
    time = Time()
    client = acme.client(credentials(time))
    client.run(READ)
    time.seconds = 0.79 * 86_399
    client.run(READ)
    assert acme.sim.tokens.issued == 1
    time.seconds = 0.81 * 86_399
    together(lambda: client.run(READ))
    assert acme.sim.tokens.issued == 2


def test_an_early_renewal_that_fails_is_tried_again_later_and_hurts_no_one(acme: Acme) -> None:
    time = Time()
    client = acme.client(credentials(time))
    client.run(READ)
    time.seconds = 0.81 * 86_399
    fault = acme.sim.faults.add("status", on="oauth", status=503, times=None)
    for _ in range(5):
        client.run(READ)
    assert fault.hits == 1
    time.seconds += 31
    acme.sim.faults.clear()
    client.run(READ)
    assert acme.sim.tokens.issued == 2


def test_a_token_that_has_run_out_is_not_used_when_no_other_is_to_be_had(acme: Acme) -> None:
    time = Time()
    client = acme.client(credentials(time))
    client.run(READ)
    time.seconds = 86_400
    acme.sim.faults.add("status", on="oauth", status=503, retry_after_s=9)
    with pytest.raises(TemporaryError) as caught:
        client.run(READ)
    assert caught.value.retry_after_s == 9
    client.run(READ)


def test_a_shop_of_another_organisation_is_explained(acme: Acme) -> None:
    acme.sim.tokens.same_organisation = False
    with pytest.raises(AccessError, match="belong to one organisation") as caught:
        acme.client(credentials(Time())).run(READ)
    assert "refresh_token" in caught.value.hint


def test_a_wrong_secret_is_an_access_error_that_does_not_show_it(acme: Acme) -> None:
    with pytest.raises(AccessError, match="invalid_client") as caught:
        acme.client(ClientCredentials("app", "hushhush")).run(READ)
    assert "hushhush" not in f"{caught.value.message} {caught.value.hint} {caught.value!r}"


def test_a_fixed_token_that_is_refused_is_not_tried_again(acme: Acme) -> None:
    with pytest.raises(AccessError, match="refuses the access token"):
        acme.client(FixedToken("shpat_old")).run(READ)
    assert len(acme.sim.calls) == 1


def test_a_shop_that_refuses_every_new_token_is_left_after_two(acme: Acme) -> None:
    fault = acme.sim.faults.add("status", status=401, on="shop", times=None)
    with pytest.raises(AccessError, match="refuses the access token"):
        acme.client(credentials(Time())).run(READ)
    assert fault.hits == 2


@pytest.mark.parametrize("status", [302, 307, 308])
def test_the_apps_secret_never_follows_a_redirect(status: int) -> None:
    with scripted() as thief, scripted() as shop:
        thief.then(200, b'{"access_token": "x", "expires_in": 5}')
        shop.then(status, Location=f"{thief.url}/admin/oauth/access_token")
        client = ShopClient(
            DOMAIN, auth=credentials(Time()), api_version="2026-10", ssl_context=SSL, admin_url=shop.url
        )
        with pytest.raises(AccessError, match="redirect"):
            client.run(READ)
        client.close()
        assert b"hush" in shop.seen[0][2]
        assert thief.seen == []


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"access_token": ""}', b'{"access_token": 7}', b"[]"])
def test_a_token_endpoint_that_talks_nonsense_is_asked_again_later(body: bytes) -> None:
    with scripted() as shop:
        shop.then(200, body)
        client = ShopClient(
            DOMAIN, auth=credentials(Time()), api_version="2026-10", ssl_context=SSL, admin_url=shop.url
        )
        with pytest.raises(TemporaryError):
            client.run(READ)
        client.close()


def test_a_rotated_pair_is_kept_before_it_is_used(acme: Acme) -> None:
    kept, time = Kept(), Time()
    kept.broken = True
    client = acme.client(rotating(kept, time))
    with pytest.raises(StateError):
        client.run(READ)
    assert acme.sim.tokens.issued == 1
    assert not any(call.kind == "query" for call in acme.sim.calls)  # what could not be kept was not used
    kept.broken = False
    client.run(READ)  # the old refresh token gives the same pair again
    assert acme.sim.tokens.issued == 1
    assert kept.stored == 1


def test_a_crash_between_the_answer_and_keeping_it_locks_no_one_out(acme: Acme) -> None:
    kept, time = Kept(), Time()
    acme.client(rotating(kept, time)).run(READ)
    first = kept.text
    time.seconds = 3_700
    kept.broken = True
    with pytest.raises(StateError):
        acme.client(rotating(kept, time)).run(READ)  # the process dies here: the second pair is nowhere
    assert kept.text == first
    kept.broken = False
    acme.client(rotating(kept, time)).run(READ)
    assert kept.text != first
    assert acme.sim.tokens.issued == 2


def test_an_answer_that_was_lost_is_asked_for_again_with_the_old_token(acme: Acme) -> None:
    kept = Kept()
    acme.sim.faults.add("lost_after", on="oauth")
    client = acme.client(rotating(kept, Time()))
    with pytest.raises(TemporaryError):
        client.run(READ)
    client.run(READ)
    assert acme.sim.tokens.issued == 1


def test_a_new_process_continues_with_the_kept_pair(acme: Acme) -> None:
    kept, time = Kept(), Time()
    acme.client(rotating(kept, time)).run(READ)
    time.seconds = 600
    acme.client(rotating(kept, time)).run(READ)
    assert acme.sim.tokens.issued == 1


def test_two_processes_share_what_is_kept_and_neither_locks_the_other_out(acme: Acme) -> None:
    kept, time = Kept(), Time()
    one, other = acme.client(rotating(kept, time)), acme.client(rotating(kept, time))
    one.run(READ)
    other.run(READ)
    for _ in range(4):
        time.seconds += 3_000
        one.run(READ)
        other.run(READ)
    assert acme.sim.tokens.issued == 5
    time.seconds += 3_700
    other.run(READ)
    one.run(READ)
    assert acme.sim.tokens.issued == 6


def test_a_process_that_read_too_early_takes_the_pair_of_the_faster_one(acme: Acme) -> None:
    kept, time = Kept(), Time()
    fast = acme.client(rotating(kept, time))
    stale: list[str | None] = [None]  # what the slow one read before the fast one kept its pair

    def load() -> str | None:
        return stale.pop() if stale else kept.load()

    fast.run(READ)
    slow = RefreshingToken("app", "hush", "r1", load=load, store=kept.store, now=time.now, clock=time)
    acme.client(slow).run(READ)
    assert acme.sim.tokens.issued == 1
    assert kept.stored == 1


def test_twenty_threads_rotate_once(acme: Acme) -> None:
    kept, time = Kept(), Time()
    client = acme.client(rotating(kept, time))
    together(lambda: client.run(READ))
    time.seconds = 3_700
    together(lambda: client.run(READ))
    assert acme.sim.tokens.issued == 2
    assert kept.stored == 2


def test_a_revoked_token_is_rotated_once(acme: Acme) -> None:
    kept = Kept()
    client = acme.client(rotating(kept, Time()))
    client.run(READ)
    acme.sim.tokens.revoke_all()
    together(lambda: client.run(READ))
    assert acme.sim.tokens.issued == 2


def test_a_spent_refresh_token_says_what_to_do_and_a_new_one_in_the_config_replaces_the_kept_pair(acme: Acme) -> None:
    kept, time = Kept(), Time()
    acme.client(rotating(kept, time)).run(READ)
    time.seconds = 10_000
    acme.sim.tokens.refresh_token = "r9"
    with pytest.raises(AccessError, match="refresh token is no longer valid") as caught:
        acme.client(rotating(kept, time)).run(READ)
    assert "install the app in the shop again" in caught.value.hint
    acme.client(rotating(kept, time, "r9")).run(READ)


def test_the_pair_is_kept_encrypted_in_the_state(acme: Acme, tmp_path: Any) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/state.db")
    ensure_schema(engine)
    time = Time()

    def source() -> RefreshingToken:
        state = StateStore(engine, secret_key="key of the state")
        shop = ShopDomain(DOMAIN)
        return RefreshingToken(
            "app", "hush", "r1", load=lambda: state.load_tokens(shop),
            store=lambda pair: state.store_tokens(shop, pair, time.now()), now=time.now, clock=time,
        )  # fmt: skip

    acme.client(source()).run(READ)
    acme.client(source()).run(READ)
    engine.dispose()
    assert acme.sim.tokens.issued == 1
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"shpat_" not in raw
    assert b"shprt_" not in raw


def test_no_source_shows_a_secret() -> None:
    kept = Kept()
    for source in (FixedToken("topsecret"), ClientCredentials("app", "topsecret"), rotating(kept, Time(), "topsecret")):
        assert "topsecret" not in f"{source!r} {vars(source)}"
