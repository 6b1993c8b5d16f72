"""Clerk's Backend API over the truth: who is there is found, who has left is not. It can be away, or busy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.chaos.clerk import user_object
from tests.chaos.people import Population
from tests.clerk.backend import KEY, Backend, serving


@dataclass
class Directory(Backend):
    """`trouble`: the HTTP status of every answer, until it is None again."""

    population: Population = field(default_factory=Population)
    trouble: int | None = None

    def one(self, request: Request) -> Response:
        if self.trouble is not None:
            return JSONResponse({"errors": []}, self.trouble, headers={"Retry-After": "1"})
        user = self.population.users.get(request.path_params["id"])
        self.users = [user_object(user)] if user is not None and user.here and not user.marked else []
        return super().one(request)


@contextmanager
def open_directory(population: Population) -> Iterator[tuple[Directory, dict[str, str]]]:
    """The directory while it is served, and what the settings need to ask it."""
    directory = Directory(population=population)
    with serving(directory) as url:
        yield directory, {"secret_key": KEY, "api_url": url}
