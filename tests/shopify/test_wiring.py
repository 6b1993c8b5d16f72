"""Each store's tokens are got as its settings say; what can't work is refused before anything is asked."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from reconciler.errors import AccessError, ConfigError
from reconciler.settings import Loaded, StoreSettings
from reconciler.settings.models import AuthSettings, Settings, StateSettings
from reconciler.shopify.setup import ShopSetup
from reconciler.wiring import Components, open_components
from tests.shopify.conftest import DOMAIN, TOKEN, Acme


def store(acme: Acme, **auth: str) -> StoreSettings:
    secrets: dict[str, Any] = {k: v if k == "client_id" else SecretStr(v) for k, v in auth.items()}
    return StoreSettings.model_validate(
        {"name": "acme", "shop": DOMAIN, "admin_url": acme.url, "auth": AuthSettings(**secrets)}
    )


def components(tmp_path: Path, acme: Acme, key: str | None = "key") -> AbstractContextManager[Components]:
    settings = Settings(version=1, state=StateSettings(url=f"sqlite:///{tmp_path}/state.db"))
    return open_components(Loaded(settings=settings, stores=()), warn=acme.warnings.append, state_key=key)


@pytest.mark.parametrize(
    ("auth", "issued"),
    [
        ({"access_token": TOKEN}, 0),
        ({"client_id": "app", "client_secret": "hush"}, 1),
        ({"client_id": "app", "client_secret": "hush", "refresh_token": "r1"}, 1),
    ],
)
def test_a_shop_is_reached_by_each_way_to_a_token(
    acme: Acme, tmp_path: Path, auth: dict[str, str], issued: int
) -> None:
    for _ in range(2):
        with components(tmp_path, acme) as home:
            assert ShopSetup(home.client(store(acme, **auth))).facts().domain == DOMAIN
    assert acme.sim.tokens.issued == (issued if "refresh_token" in auth else 2 * issued)


def test_rotating_tokens_need_a_key_to_be_kept_under(acme: Acme, tmp_path: Path) -> None:
    with (
        components(tmp_path, acme, key=None) as home,
        pytest.raises(ConfigError, match="no key to encrypt") as caught,
    ):
        home.client(store(acme, client_id="app", client_secret="hush", refresh_token="r1"))
    assert "RECONCILER_SECRET_KEY" in caught.value.hint
    assert len(acme.sim.calls) == 0


@pytest.mark.parametrize("auth", [{}, {"access_token": ""}, {"client_id": "app", "client_secret": ""}])
def test_a_store_without_any_way_to_a_token_says_so_when_it_is_used(
    acme: Acme, tmp_path: Path, auth: dict[str, str]
) -> None:
    with components(tmp_path, acme) as home:
        client = home.client(store(acme, **auth))
        with pytest.raises(AccessError, match="has no complete `auth`") as caught:
            ShopSetup(client).facts()
    assert "access_token" in caught.value.hint
    assert len(acme.sim.calls) == 0


# --- clients over several readings of the files -------------------------------------------------------------------


def files(*stores: StoreSettings) -> Loaded:
    return Loaded(settings=Settings(version=1), stores=stores)


def reread(before: Components, *stores: StoreSettings) -> Components:
    """The components of the files as they are now, around the same connections."""
    components = Components(files(*stores), before.connections)
    components.hold_clients()
    return components


def changed(one: StoreSettings, **values: Any) -> StoreSettings:
    return one.model_copy(update=values)


def test_a_shop_with_the_same_connection_keeps_its_client_when_the_files_are_read_again(
    acme: Acme, tmp_path: Path
) -> None:
    one = store(acme, access_token=TOKEN)
    with components(tmp_path, acme) as home:
        client = home.client(one)
        assert ShopSetup(client).facts().domain == DOMAIN
        left = client.pace.available()
        other = changed(one, tags=("other",), paused=True)
        after = reread(home, other)
        assert after.client(other) is client
        assert after.points_left() == {one.name: pytest.approx(left, abs=500)}
        home.release_clients()  # no one works with the old files any more
        assert ShopSetup(after.client(other)).facts().domain == DOMAIN


@pytest.mark.parametrize(
    "values", [{"auth": AuthSettings(access_token=SecretStr("another"))}, {"api_version": "2027-01"}]
)
def test_another_way_to_the_same_shop_is_another_client_on_the_same_bucket(
    acme: Acme, tmp_path: Path, values: dict[str, Any]
) -> None:
    one = store(acme, access_token=TOKEN)
    with components(tmp_path, acme) as home:
        before = home.client(one)
        other = changed(one, **values)
        after = reread(home, other).client(other)
        assert after is not before
        assert after.pace is before.pace


def test_another_shop_has_a_bucket_of_its_own(acme: Acme, tmp_path: Path) -> None:
    one = store(acme, access_token=TOKEN)
    with components(tmp_path, acme) as home:
        two = changed(one, name="two", shop="two.myshopify.com")
        after = reread(home, one, two)
        assert after.client(two).pace is not home.client(one).pace


def test_a_client_is_closed_when_it_has_no_holder_any_more(acme: Acme, tmp_path: Path) -> None:
    one = store(acme, access_token=TOKEN)
    with components(tmp_path, acme) as home:
        client = home.client(one)
        second = reread(home, one)
        third = reread(second)  # the store is gone
        second.release_clients()
        assert ShopSetup(home.client(one)).facts().domain == DOMAIN  # who works with the first continues
        home.release_clients()
        assert third.points_left() == {}
        back = reread(third, one)
        assert back.client(one) is not client
