"""The simulated Shopify over HTTP: the Admin GraphQL endpoint and the token endpoint, for all shops of a world.

`make_app(world)` is a Starlette application. A request is assigned to a shop by the Host header, by the port it came in on
(`world.ports`, set by `server.py`), by `shop=` of `make_app`, or by its X-Shopify-Access-Token.

    POST /admin/api/{version}/graphql.json      as Shopify answers, status codes, costs and errors included
    POST /admin/oauth/access_token              client_credentials and refresh_token grants
    /bulk-results/…, /staged-uploads/…          files of bulk operations, see `storage.py`
    /_sim/…                                     the simulator's own API, see `control.py`

Status codes and bodies: Shopify Admin API, response codes page and measured replies, read 2026-11-23.
"""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.simulator import control
from reconciler.simulator.bulk import storage
from reconciler.simulator.graphql.calls import BODIES, PAGE, LostAnswer, answer, read_call, status_response
from reconciler.simulator.world import Call, SimShop, World

NOT_PERMITTED: Final = "Oauth error shop_not_permitted: Client credentials cannot be performed on this shop."


def make_app(world: World, shop: str | None = None) -> Starlette:
    """The application for a world, or for one of its shops."""
    front = _Front(world, shop)
    routes: list[BaseRoute] = [
        Route("/admin/api/{version}/graphql.json", front.graphql, methods=["POST"]),
        Route("/admin/oauth/access_token", front.token, methods=["POST"]),
        *control.routes(world),
        *storage.routes(world),
        Route("/{path:path}", _not_found, methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes)


async def _not_found(_request: Request) -> Response:
    return JSONResponse(BODIES[404], 404)


class _Front:
    def __init__(self, world: World, bound: str | None) -> None:
        self.world = world
        self.bound = bound
        self._request_ids = count(1)

    def find(self, request: Request, token: str | None) -> SimShop | None:
        if self.bound is not None:
            return self.world.find_shop(self.bound)
        server = request.scope.get("server")
        return self.world.find(host=request.headers.get("host", ""), port=server[1] if server else None, token=token)

    # --- tokens ---------------------------------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        if request.headers.get("content-type", "").startswith("application/json"):
            form: Mapping[str, Any] = json.loads(await request.body())
        else:
            form = {key: str(value) for key, value in (await request.form()).items()}
        sim = self.find(request, None) or self._by_client(form)
        if sim is None:
            return JSONResponse(BODIES[404], 404)
        fault = await sim.faults.met(("oauth",), {}, latency_s=sim.latency_s)
        if sim.status is not None:
            return status_response(sim.status)
        if fault is not None and fault.kind != "lost_after":
            return LostAnswer() if fault.kind == "lost_before" else status_response(fault.status or 500, fault)
        response = self._grant(sim, form)
        sim.note(Call(self.world.clock(), "oauth", (str(form.get("grant_type")),), 0, response.status_code, "oauth"))
        return LostAnswer() if fault is not None else sim.spoilt(response, ("oauth",))

    def _by_client(self, form: Mapping[str, Any]) -> SimShop | None:
        mine = [sim for sim in self.world.shops.values() if sim.tokens.client_id == form.get("client_id")]
        return mine[0] if len(mine) == 1 else None

    def _grant(self, sim: SimShop, form: Mapping[str, Any]) -> Response:
        tokens = sim.tokens
        if (form.get("client_id"), form.get("client_secret")) != (tokens.client_id, tokens.client_secret):
            return _oauth_error(401, "invalid_client", "Client authentication failed")
        grant = form.get("grant_type")
        if grant == "client_credentials":
            if not tokens.same_organisation:
                return HTMLResponse(PAGE.format(title=NOT_PERMITTED), 400)
            return JSONResponse(tokens.by_credentials(sim.shop.scopes))
        if grant == "refresh_token":
            pair = tokens.by_refresh(str(form.get("refresh_token")), sim.shop.scopes)
            if pair is None:
                return _oauth_error(401, "invalid_grant", "This request requires an active refresh_token")
            return JSONResponse(pair)
        return _oauth_error(400, "unsupported_grant_type", f"grant_type {grant} is not supported")

    # --- GraphQL --------------------------------------------------------------------------------------------------

    async def graphql(self, request: Request) -> Response:
        token = request.headers.get("x-shopify-access-token")
        sim = self.find(request, token)
        version = self.world.version(request.path_params["version"])
        if sim is None or version is None:
            return JSONResponse(BODIES[404], 404)
        request_id = f"{next(self._request_ids):08x}-{sim.domain.partition('.')[0]}"
        try:
            body = await request.body()
        except (
            ClientDisconnect
        ):  # the client disconnected during its request: nothing was executed, and there is no response
            return Response(status_code=400)
        call = read_call(request.headers.get("content-type", ""), body, token, request_id)
        fault = await sim.faults.met(call.roots, call.variables, latency_s=sim.latency_s)
        answered = answer(self.world, sim, call, fault)
        response = answered.response
        sim.note(Call(self.world.clock(), call.kind, call.roots, answered.cost, response.status_code, answered.outcome))
        response = sim.spoilt(response, call.roots)
        response.headers["X-Shopify-API-Version"] = version
        response.headers["X-Request-Id"] = request_id
        return response


def _oauth_error(status: int, error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status)
