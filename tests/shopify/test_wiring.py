"""Each store's tokens are got as its settings say; what can't work is refused before anything is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from reconciler.errors import AccessError, ConfigError
from reconciler.settings import Loaded, StoreSettings
from reconciler.settings.models import AuthSettings, Settings, StateSettings
from reconciler.shopify.setup import ShopSetup
from reconciler.wiring import House
from tests.shopify.conftest import DOMAIN, TOKEN, Acme


def store(acme: Acme, **auth: str) -> StoreSettings:
    secrets: dict[str, Any] = {k: v if k == "client_id" else SecretStr(v) for k, v in auth.items()}
    return StoreSettings.model_validate(
        {"name": "acme", "shop": DOMAIN, "admin_url": acme.url, "auth": AuthSettings(**secrets)}
    )


def house(tmp_path: Path, acme: Acme, key: str | None = "key") -> House:
    settings = Settings(version=1, state=StateSettings(url=f"sqlite:///{tmp_path}/state.db"))
    return House(Loaded(settings=settings, stores=()), warn=acme.warnings.append, state_key=key)


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
        with house(tmp_path, acme) as home:
            assert ShopSetup(home.client(store(acme, **auth))).facts().domain == DOMAIN
    assert acme.sim.tokens.issued == (issued if "refresh_token" in auth else 2 * issued)


def test_rotating_tokens_need_a_key_to_be_kept_under(acme: Acme, tmp_path: Path) -> None:
    with (
        house(tmp_path, acme, key=None) as home,
        pytest.raises(ConfigError, match="no key to encrypt") as caught,
    ):
        home.client(store(acme, client_id="app", client_secret="hush", refresh_token="r1"))
    assert "RECONCILER_SECRET_KEY" in caught.value.hint
    assert len(acme.sim.calls) == 0


@pytest.mark.parametrize("auth", [{}, {"access_token": ""}, {"client_id": "app", "client_secret": ""}])
def test_a_store_without_any_way_to_a_token_says_so_when_it_is_used(
    acme: Acme, tmp_path: Path, auth: dict[str, str]
) -> None:
    with house(tmp_path, acme) as home:
        client = home.client(store(acme, **auth))
        with pytest.raises(AccessError, match="no way to get a token") as caught:
            ShopSetup(client).facts()
    assert "access_token" in caught.value.hint
    assert len(acme.sim.calls) == 0
