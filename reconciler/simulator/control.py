"""The control API of the simulator: actions of staff and guests, and faults, for tests in other processes and demos.

    POST /_sim/{domain}/{action}    `shop.staff_ACTION(**json)`: edit, tag, untag, delete, merge, guest_checkout …
    POST /_sim/{domain}/faults      {"kind": "lost_after", "on": "customerSet", "times": 1, "after": 0, "seconds": …,
                                    "status": …, "retry_after_s": …}; or {"clear": true}
    POST /_sim/{domain}/neighbour   {"points_per_s": 50}: another program uses the same bucket; 0 ends it
    POST /_sim/{domain}/status      {"status": 402}: every call gets it; null ends it
    POST /_sim/{domain}/hostile     {"kind": "shape", "seed": 7, "only": "nodes"}: replies are corrupted; null ends it
    POST /_sim/{domain}/habits      {"fold_email_case": true, …}: behaviour that is not known of Shopify (`Habits`)
    POST /_sim/{domain}/rename      {"domain": "other.myshopify.com"}: its myshopify name changes, its gid doesn't
    POST /_sim/{domain}/claims      {"every_s": 60, "seed": 1}: another app overwrites names, phone and all tags
    POST /_sim/{domain}/uninstall   the app is removed: its tokens and subscriptions end
    POST /_sim/{domain}/pace        {"search_lag_s": 0, "latency_s": 0.1, "bulk_rows_per_s": 100}
    POST /_sim/{domain}/populate    {"count": 1000, "seed": 1, "unlinked": 0.1, …}: adds many customers fast
    GET  /_sim/{domain}/customers   all customers, as plain JSON
    GET  /_sim/{domain}/calls       the calls seen: at, kind, roots, cost, status, outcome
    GET  /_sim/stats                per shop: calls, mutations, points spent, THROTTLED replies, counts by root field

Shopify has none of this. It is served on loopback only, like the whole simulator.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from json import JSONDecodeError
from typing import Any, Final

from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.hostile import Hostile, HostileKind
from reconciler.simulator.world import SimShop, World

PAGE_SIZE: Final = 250
PACES: Final = ("search_lag_s", "latency_s", "bulk_rows_per_s")


def routes(world: World) -> list[BaseRoute]:
    control = _Control(world)
    return [
        Route("/_sim/stats", control.stats, methods=["GET"]),
        Route("/_sim/{domain}/customers", control.customers, methods=["GET"]),
        Route("/_sim/{domain}/calls", control.calls, methods=["GET"]),
        Route("/_sim/{domain}/{action}", control.act, methods=["POST"]),
    ]


def fallback(world: World, sim: SimShop) -> dict[str, Callable[..., Any]]:
    """Root fields about the app and the API, which the shop's domain does not implement."""

    def public_api_versions() -> list[Json]:
        return [{"handle": each, "displayName": each, "supported": True} for each in world.versions]

    def current_app_installation() -> Json:
        app = {"id": "gid://shopify/App/1", "title": "customer-parity", "apiKey": sim.tokens.client_id, "handle": None}
        scopes = [{"handle": each, "description": each} for each in sorted(sim.shop.scopes)]
        return {"id": "gid://shopify/AppInstallation/1", "app": app, "accessScopes": scopes}

    return {"publicApiVersions": public_api_versions, "currentAppInstallation": current_app_installation}


def all_customers(sim: SimShop) -> list[Json]:
    """Every customer of a shop as plain JSON, without fields that have arguments."""
    found: list[Json] = []
    after: str | None = None
    with sim.lock:
        while True:
            page = sim.shop.customers(first=PAGE_SIZE, after=after)
            found += [plain(node) for node in page["nodes"]]
            if not page["pageInfo"]["hasNextPage"]:
                return found
            after = page["pageInfo"]["endCursor"]


def plain(value: Any) -> Any:
    """A value without fields that have arguments."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items() if not callable(each)}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value if not callable(each)]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


class _Control:
    def __init__(self, world: World) -> None:
        self.world = world

    async def stats(self, _request: Request) -> Response:
        return JSONResponse({domain: _stats(sim) for domain, sim in self.world.shops.items()})

    async def customers(self, request: Request) -> Response:
        sim = self.world.find_shop(request.path_params["domain"])
        return _unknown("shop") if sim is None else JSONResponse(all_customers(sim))

    async def calls(self, request: Request) -> Response:
        sim = self.world.find_shop(request.path_params["domain"])
        return _unknown("shop") if sim is None else JSONResponse([asdict(call) for call in list(sim.calls)])

    async def act(self, request: Request) -> Response:
        sim = self.world.find_shop(request.path_params["domain"])
        if sim is None:
            return _unknown("shop")
        action = request.path_params["action"]
        own = OWN_ACTIONS.get(action)
        try:
            details = await request.json() if await request.body() else {}
            if not isinstance(details, dict):
                return JSONResponse({"error": "the body is no JSON object"}, 400)
            if action == "rename":
                return JSONResponse({"domain": self.world.rename_shop(sim.domain, str(details["domain"])).domain})
            if own is not None:
                return JSONResponse(own(sim, **details))
            if not hasattr(sim.shop, f"staff_{action}"):
                return _unknown(f"action {action}")
            return JSONResponse(plain(sim.staff(action, **details)))
        except JSONDecodeError as error:
            return JSONResponse({"error": f"the body is no JSON: {error}"}, 400)
        except (TypeError, ValueError, KeyError, GraphQLError) as error:
            return JSONResponse({"error": str(error)}, 400)


def _faults(sim: SimShop, *, clear: bool = False, **details: Any) -> Json:
    if clear:
        sim.faults.clear()
    else:
        sim.faults.add(**details)
    return {"pending": sim.faults.pending()}


def _neighbour(sim: SimShop, *, points_per_s: float) -> Json:
    sim.bucket.neighbour(points_per_s)
    return {"points_per_s": points_per_s}


def _status(sim: SimShop, *, status: int | None) -> Json:
    sim.status = status
    return {"status": status}


def _hostile(sim: SimShop, *, kind: HostileKind | None, **details: Any) -> Json:
    sim.hostile = None if kind is None else Hostile(kind, **details)
    return {"kind": kind}


def _habits(sim: SimShop, **values: Any) -> Json:
    with sim.lock:
        sim.shop.change_habits(**values)
        return {key: plain(value) for key, value in asdict(sim.shop.habits).items()}


def _uninstall(sim: SimShop) -> Json:
    removed: Json = sim.staff("uninstall")
    sim.tokens.revoke_all()
    return removed


def _pace(sim: SimShop, **values: float | None) -> Json:
    for name, value in values.items():
        if name not in PACES:
            raise ValueError(f"unknown pace {name}; known are {', '.join(PACES)}")
        setattr(sim if name == "latency_s" else sim.shop, name, value)
    return {name: getattr(sim if name == "latency_s" else sim.shop, name) for name in PACES}


def _populate(sim: SimShop, *, count: int, **options: Any) -> Json:
    with sim.lock:
        return {"added": sim.shop.populate(count, **options)}


OWN_ACTIONS: Final[Mapping[str, Callable[..., Json]]] = {
    "faults": _faults,
    "neighbour": _neighbour,
    "status": _status,
    "hostile": _hostile,
    "habits": _habits,
    "uninstall": _uninstall,
    "pace": _pace,
    "populate": _populate,
}


def _stats(sim: SimShop) -> Json:
    return {
        "calls": len(sim.calls),
        "mutations": sim.mutations,
        "spent": sim.bucket.spent,
        "throttled": sim.bucket.throttled,
        "counts": dict(sorted(sim.counts.items())),
    }


def _unknown(what: str) -> Response:
    return JSONResponse({"error": f"unknown {what}"}, 404)
