"""Access tokens of one shop: a fixed token, client credentials, or a rotating pair.

The client asks a source before every call, and reports a token that the shop refuses. The client also passes the function
that posts to the token endpoint (`Exchange`), so this module has no addresses and no HTTP. Facts of Shopify's token
endpoint as of 2026-11: a token by client credentials lives a day. A refreshed access token lives an hour, and its refresh
token 90 days. A refresh token may be used again until the pair that it returned has been used.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from pydantic import SecretStr

from reconciler.core.model.frozen import frozen
from reconciler.errors import AccessError, TemporaryError

RENEW_AT: Final = 0.8  # share of a token's life
RENEW_AGAIN_S: Final = 30.0  # after an early renewal that failed
DAY_S: Final = 86_400.0
LIFE_MAX_S: Final = 90 * DAY_S  # upper bound for a life that a shop states
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")

Exchange = Callable[[Mapping[str, str]], Mapping[str, Any]]
"""Posts a form to the shop's token endpoint and returns its JSON.

Raises AccessError for a refusal, GrantRefused if the grant itself is no longer valid, TemporaryError otherwise.
"""


class GrantRefused(AccessError):
    """The token endpoint refuses this grant (such as a refresh token) for good."""


class TokenSource(Protocol):
    """A source of access tokens for one shop. Thread-safe."""

    def token(self, exchange: Exchange) -> SecretStr:
        """A token that should be valid now."""

    def report_refused(self, token: SecretStr) -> bool:
        """Report that the shop refused this token. Returns whether `token` may return another one."""


class FixedToken:
    """A permanent token of a custom app."""

    def __init__(self, token: str) -> None:
        self._token = SecretStr(token)
        self._is_sound = _TOKEN.fullmatch(token) is not None

    def token(self, exchange: Exchange) -> SecretStr:  # noqa: ARG002  of the protocol
        if not self._is_sound:
            raise AccessError(
                "the store's access token has characters that no token has",
                hint="copy it again into `auth` in stores.yaml, without blanks and line ends",
            )
        return self._token

    def report_refused(self, token: SecretStr) -> bool:  # noqa: ARG002  of the protocol
        return False


class NoToken:
    """A store without a complete `auth`: it can't be used; other stores are not affected."""

    def __init__(self, store: str) -> None:
        self._store = store

    def token(self, exchange: Exchange) -> SecretStr:  # noqa: ARG002  of the protocol
        raise AccessError(
            f"store '{self._store}' has no complete `auth`",
            hint="set access_token, or client_id and client_secret, or these and refresh_token",
        )

    def report_refused(self, token: SecretStr) -> bool:  # noqa: ARG002  of the protocol
        return False


@frozen
class _Held:
    token: SecretStr
    renew_at: float
    until: float


class _Renewed:
    """A token that one thread renews before it expires; other threads use the old one without waiting while it lives."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._not_before = 0.0

    def token(self, exchange: Exchange) -> SecretStr:
        held = self._held
        now = self._clock()
        if held is not None and (now < held.renew_at or (now < held.until and now < self._not_before)):
            return held.token
        if held is not None and now < held.until:
            return self._renew_early(held, exchange)
        with self._lock:
            held = self._held
            if held is None or self._clock() >= held.renew_at:
                held = self._held = self._fetch(exchange)
            return held.token

    def report_refused(self, token: SecretStr) -> bool:
        with self._lock:
            if self._held is not None and self._held.token == token:
                self._held = None
                self._forget()
            return True

    def _renew_early(self, held: _Held, exchange: Exchange) -> SecretStr:
        """Renew the token unless another thread does. Until it is renewed, or if that fails for now, use the old one."""
        if not self._lock.acquire(blocking=False):
            return held.token
        try:
            if self._held is held:
                self._held = self._fetch(exchange)
        except TemporaryError:
            self._not_before = self._clock() + RENEW_AGAIN_S
        finally:
            self._lock.release()
        return (self._held or held).token

    def _held_until(self, token: str, lives_s: float) -> _Held:
        now = self._clock()
        return _Held(SecretStr(token), now + lives_s * RENEW_AT, now + lives_s)

    def _fetch(self, exchange: Exchange) -> _Held:
        raise NotImplementedError

    def _forget(self) -> None:
        """Called when the shop refuses the current token."""


class ClientCredentials(_Renewed):
    """A token that lives a day, by the id and secret of an app that belongs to the shop's organisation."""

    def __init__(self, client_id: str, client_secret: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._client_id = client_id
        self._client_secret = SecretStr(client_secret)

    def _fetch(self, exchange: Exchange) -> _Held:
        answer = exchange(
            {
                "grant_type": "client_credentials",
                "client_id": self._client_id,
                "client_secret": self._client_secret.get_secret_value(),
            }
        )
        return self._held_until(_text(answer, "access_token"), _seconds(answer, "expires_in", DAY_S))


@frozen
class _Pair:
    """A rotated pair as it is stored. `seed` identifies the configured refresh token from which it descends."""

    access: SecretStr
    refresh: SecretStr
    until: datetime
    seed: str

    def as_text(self) -> str:
        return json.dumps(
            {
                "access_token": self.access.get_secret_value(),
                "refresh_token": self.refresh.get_secret_value(),
                "until": self.until.isoformat(),
                "seed": self.seed,
            }
        )


class RefreshingToken(_Renewed):
    """An access token that lives an hour and a refresh token; each refresh replaces both.

    `load` and `store` keep the newest pair. A new pair is stored before it is used: until its first use the old refresh
    token remains valid, so a crash or a failed write in between is harmless. Several processes may share the stored pair:
    each loads it before it refreshes, and again if its own refresh token is refused. A changed refresh token in the config
    replaces the stored pair.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        refresh_token: str,
        *,
        load: Callable[[], str | None],
        store: Callable[[str], None],
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self._client_id = client_id
        self._client_secret = SecretStr(client_secret)
        self._first = SecretStr(refresh_token)
        self._seed = hashlib.sha256(refresh_token.encode()).hexdigest()[:16]
        self._load, self._store, self._now = load, store, now
        self._spent: SecretStr | None = None  # an access token that the shop refused

    def report_refused(self, token: SecretStr) -> bool:
        self._spent = token
        return super().report_refused(token)

    def _fetch(self, exchange: Exchange) -> _Held:
        stored = self._load_pair()
        if stored is not None and self._is_good(stored):
            return self._of(stored)
        refresh = stored.refresh if stored else self._first
        try:
            pair = self._refresh(refresh, exchange)
        except GrantRefused:
            other = self._load_pair()
            if other is None or other.refresh == refresh:
                raise
            if self._is_good(other):  # another process has refreshed it
                return self._of(other)
            pair = self._refresh(other.refresh, exchange)
        self._store(pair.as_text())
        return self._of(pair)

    def _refresh(self, refresh: SecretStr, exchange: Exchange) -> _Pair:
        answer = exchange(
            {
                "grant_type": "refresh_token",
                "client_id": self._client_id,
                "client_secret": self._client_secret.get_secret_value(),
                "refresh_token": refresh.get_secret_value(),
            }
        )
        lives_s = _seconds(answer, "expires_in", 3600.0)
        return _Pair(
            SecretStr(_text(answer, "access_token")),
            SecretStr(_text(answer, "refresh_token")),
            self._now() + timedelta(seconds=lives_s),
            self._seed,
        )

    def _load_pair(self) -> _Pair | None:
        """Load the stored pair, if it descends from the refresh token in the config."""
        text = self._load()
        if text is None:
            return None
        kept = json.loads(text)
        if kept["seed"] != self._seed:
            return None
        access, refresh = SecretStr(kept["access_token"]), SecretStr(kept["refresh_token"])
        return _Pair(access, refresh, datetime.fromisoformat(kept["until"]), kept["seed"])

    def _is_good(self, pair: _Pair) -> bool:
        """Whether the pair was not refused, is not the one being renewed, and has life left."""
        held = self._held.token if self._held is not None else None
        left_s = (pair.until - self._now()).total_seconds()
        return pair.access not in {self._spent, held} and left_s > RENEW_AGAIN_S

    def _of(self, pair: _Pair) -> _Held:
        return self._held_until(pair.access.get_secret_value(), max(0.0, (pair.until - self._now()).total_seconds()))


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise TemporaryError(f"the token endpoint's response has no {name}")
    return value


def _seconds(answer: Mapping[str, Any], name: str, otherwise: float) -> float:
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return otherwise
    return float(min(value, LIFE_MAX_S))
