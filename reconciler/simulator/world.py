"""The simulated world: its shops, each with an app's tokens, a bucket, faults and a log of calls.

`app.py` serves it; tests and the demo use it directly. The domain of a shop is `shop.py`.
"""

import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response

from reconciler.simulator.bulk.files import Depot
from reconciler.simulator.faults import Faults
from reconciler.simulator.graphql.costs import Bucket, CostModel
from reconciler.simulator.graphql.documents import Json, load_schema
from reconciler.simulator.hostile import Hostile
from reconciler.simulator.shop import Shop

ALL_SCOPES: Final = frozenset(
    {
        "read_customers", "write_customers", "read_customer_merge", "write_customer_merge",
        "write_customer_data_erasure", "read_customer_data_erasure",
    }
)  # fmt: skip
VERSIONS: Final = ("2026-01", "2026-04", "2026-07", "2026-10")
CALLS_KEPT: Final = 20_000
TOKEN_TTL_S: Final = 86_399.0
REFRESHED_TTL_S: Final = 3600.0
REFRESH_TOKEN_TTL_S: Final = 7_776_000.0
CHANGES_NOTHING: Final = frozenset({"bulkOperationRunQuery", "bulkOperationCancel"})


def wall_clock() -> float:
    """Seconds since the epoch: the default clock of the simulator."""
    return time.time()  # noqa: TID251 - the simulator acts as another machine


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a shop answered or refused."""

    at: float
    kind: str
    roots: tuple[str, ...]
    cost: int
    status: int
    outcome: str


@dataclass(slots=True)
class Tokens:
    """An app's tokens for one shop: fixed tokens, tokens by client credentials, and a rotating pair.

    A used refresh token may be used again until the pair that it returned is used (2026-08-28 changelog).
    """

    clock: Callable[[], float]
    client_id: str
    client_secret: str
    ttl_s: float = TOKEN_TTL_S
    refresh_token: str | None = None
    same_organisation: bool = True
    issued: int = 0
    _valid: dict[str, float | None] = field(default_factory=dict)
    _previous_refresh: str | None = None
    _last_pair: Json | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def allow(self, token: str, ttl_s: float | None = None) -> None:
        """Make a token valid, without an end or for a time."""
        self._valid[token] = None if ttl_s is None else self.clock() + ttl_s

    def revoke_all(self) -> None:
        """Revoke all access tokens; credentials and refresh tokens remain valid."""
        self._valid.clear()

    def accepts(self, token: str | None) -> bool:
        if token is None or token not in self._valid:
            return False
        until = self._valid[token]
        return until is None or self.clock() < until

    def knows(self, token: str | None) -> bool:
        return token in self._valid

    def record_use(self, token: str) -> None:
        """Record a call with this token: the first use of a new pair revokes the old refresh token."""
        if self._last_pair is not None and token == self._last_pair["access_token"]:
            self._previous_refresh = None

    def by_credentials(self, scopes: Iterable[str]) -> Json:
        with self._lock:
            token = self._issue(self.ttl_s)
            return {"access_token": token, "scope": ",".join(sorted(scopes)), "expires_in": int(self.ttl_s)}

    def by_refresh(self, refresh_token: str, scopes: Iterable[str]) -> Json | None:
        """The next pair; the same pair again for a repeat; None for an invalid token."""
        with self._lock:
            if self._previous_refresh is not None and refresh_token == self._previous_refresh:
                return self._last_pair
            if self.refresh_token is None or refresh_token != self.refresh_token:
                return None
            ttl_s = min(self.ttl_s, REFRESHED_TTL_S)
            self._previous_refresh = refresh_token
            self.refresh_token = f"shprt_{secrets.token_hex(16)}"
            self._last_pair = {
                "access_token": self._issue(ttl_s),
                "scope": ",".join(sorted(scopes)),
                "expires_in": int(ttl_s),
                "refresh_token": self.refresh_token,
                "refresh_token_expires_in": int(REFRESH_TOKEN_TTL_S),
            }
            return self._last_pair

    def _issue(self, ttl_s: float) -> str:
        self.issued += 1
        token = f"shpat_{secrets.token_hex(16)}"
        self.allow(token, ttl_s)
        return token


class SimShop:
    """One shop of the world as an app sees it: the domain in `shop`, with tokens, bucket, faults and the call log."""

    def __init__(self, shop: Shop, tokens: Tokens, bucket: Bucket, costs: CostModel) -> None:
        self.shop = shop
        self.domain: str = shop.domain
        self.tokens = tokens
        self.bucket = bucket
        self.costs = costs
        self.faults = Faults()
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self.counts: Counter[str] = Counter()
        self.mutations = 0
        """Mutation calls that ran and could have changed the shop: starting or cancelling a bulk query is not one."""
        self.status: int | None = None
        """An HTTP status for every call, until it is None: 402 frozen, 403, 404, 423 locked."""
        self.latency_s = 0.0
        self.hostile: Hostile | None = None
        self.lock = threading.RLock()

    def staff(self, action: str, **details: Any) -> Any:
        """Run an action of a person in Shopify's admin: `shop.staff_ACTION(**details)`, while no call runs."""
        with self.lock:
            return getattr(self.shop, f"staff_{action}")(**details)

    def spoilt(self, reply: Response, roots: tuple[str, ...]) -> Response:
        """The reply to send: this one, unless the shop is hostile."""
        with self.lock:
            return reply if self.hostile is None else self.hostile.spoilt(reply, roots)

    def note(self, call: Call) -> None:
        with self.lock:
            self.calls.append(call)
            if call.outcome in {"done", "lost"}:
                self.counts.update(call.roots)
                if call.kind == "mutation" and not CHANGES_NOTHING.issuperset(call.roots):
                    self.mutations += 1


class World:
    """Several shops with one clock. Add the shops before a SimulatorServer serves the world."""

    def __init__(
        self,
        clock: Callable[[], float] = wall_clock,
        *,
        versions: Iterable[str] = VERSIONS,
        files: Path | None = None,
    ) -> None:
        self.depot = Depot(files)
        self.clock = clock
        self.versions = tuple(versions)
        self.shops: dict[str, SimShop] = {}
        self.ports: dict[int, str] = {}
        self._former: dict[str, str] = {}
        """The former names of shops, each with its successor."""

    def add_shop(
        self,
        domain: str,
        *,
        access_token: str | None = None,
        client_id: str = "client-id",
        client_secret: str = "client-secret",  # noqa: S107 - of a simulated app
        refresh_token: str | None = None,
        scopes: Iterable[str] = ALL_SCOPES,
        restore_rate: float = 100,
        bucket_size: float = 2000,
        token_ttl_s: float = TOKEN_TTL_S,
        same_organisation: bool = True,
        charge_per_id: bool = False,
        country: str = "US",
        locale: str = "en",
        seed: int = 0,
        shop: Shop | None = None,
    ) -> SimShop:
        """Add a shop with one app installed. `shop`: use this domain object."""
        if domain in self.shops or domain in self._former:
            raise ValueError(f"shop {domain} is there already")
        shop = shop or Shop(domain, clock=self.clock, seed=seed, country=country, locale=locale)
        shop.scopes = set(scopes)
        shop.depot = self.depot
        tokens = Tokens(
            self.clock,
            client_id,
            client_secret,
            ttl_s=token_ttl_s,
            refresh_token=refresh_token,
            same_organisation=same_organisation,
        )
        if access_token is not None:
            tokens.allow(access_token)
        bucket = Bucket(self.clock, size=bucket_size, restore_rate=restore_rate)
        sim = SimShop(shop, tokens, bucket, CostModel(load_schema(), charge_per_id=charge_per_id))
        shop.base_url = lambda: self.url(sim.domain)
        self.shops[domain] = sim
        return sim

    def rename_shop(self, old: str, new: str) -> SimShop:
        """Change a shop's myshopify name; its gid and data remain, and the old name still works."""
        sim = self.find_shop(old)
        if sim is None:
            raise ValueError(f"there is no shop {old}")
        if new in self.shops or new in self._former:
            raise ValueError(f"shop {new} is there already")
        with sim.lock:
            self._former[sim.domain] = new
            self.shops = {new if sim is each else name: each for name, each in self.shops.items()}
            sim.domain = new
            sim.shop.staff_rename(new)
        return sim

    def find_shop(self, domain: str) -> SimShop | None:
        """The shop that has or had this myshopify name."""
        while domain in self._former:
            domain = self._former[domain]
        return self.shops.get(domain)

    def url(self, domain: str) -> str:
        """The shop's base URL: scheme, host and port; its own domain if it is not served."""
        wanted = self.find_shop(domain)
        for port, name in self.ports.items():
            if wanted is not None and self.find_shop(name) is wanted:
                return f"http://127.0.0.1:{port}"
        return f"https://{domain}"

    def find(self, *, host: str = "", port: int | None = None, token: str | None = None) -> SimShop | None:
        """The shop of a request: by Host, by the port, by its token, or the only one."""
        named = self.find_shop(host.partition(":")[0].lower()) or self.find_shop(self.ports.get(port or 0, ""))
        if named is not None:
            return named
        for sim in self.shops.values():
            if sim.tokens.knows(token):
                return sim
        return next(iter(self.shops.values())) if len(self.shops) == 1 else None

    def version(self, asked: str) -> str | None:
        """The API version that runs for a requested one: an unsupported one falls forward to the oldest supported."""
        if asked in self.versions or asked == "unstable":
            return asked
        year, dash, month = asked.partition("-")
        if not (dash and year.isdigit() and month in {"01", "04", "07", "10"}) or asked > self.versions[-1]:
            return None
        return self.versions[0]
