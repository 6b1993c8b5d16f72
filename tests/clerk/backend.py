"""A Clerk Backend API for tests: real HTTP on loopback, the rules of its lists, and troubles on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler.server.run import ServerThread

KEY = "sk_test_0f1e2d3c"


@dataclass
class Backend:
    """Users in order of creation. `troubles` are answered first, one a request: (status, headers)."""

    users: list[Any] = field(default_factory=list)
    troubles: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    deletes_after_page: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/users", self.listing), Route("/v1/users/{id}", self.one)])

    def _refused(self, request: Request) -> Response | None:
        with self.lock:
            self.asked.append((request.url.path, dict(request.query_params)))
            self.versions.add(request.headers.get("clerk-api-version", ""))
            if self.troubles:
                status, headers = self.troubles.pop(0)
                return JSONResponse({"errors": []}, status, headers=headers)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"errors": [{"code": "clerk_key_invalid"}]}, 401)
        return None

    def one(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        found = [u for u in self.users if isinstance(u, dict) and u.get("id") == request.path_params["id"]]
        return JSONResponse(found[0]) if found else JSONResponse({"errors": [{"code": "resource_not_found"}]}, 404)

    def listing(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        asked = request.query_params
        limit = int(asked.get("limit", "10"))
        after = asked.get("starting_after")
        if not 1 <= limit <= 500 or (after and asked.get("order_by") not in {"+created_at", "-created_at"}):
            return JSONResponse({"errors": [{"code": "form_param_invalid"}]}, 422)
        ids = [u.get("id") if isinstance(u, dict) else None for u in self.users]
        if after and after not in ids:
            return JSONResponse({"errors": [{"code": "resource_not_found"}]}, 422)
        start = ids.index(after) + 1 if after else 0
        page = self.users[start : start + limit]
        for gone in self.deletes_after_page:
            self.users = [u for u in self.users if not (isinstance(u, dict) and u.get("id") == gone)]
        return JSONResponse(page)


@contextmanager
def serving(backend: Backend) -> Iterator[str]:
    """The API's address while it is served."""
    with ServerThread(backend.app(), "127.0.0.1", 0) as server:
        yield f"{server.url}/v1"
