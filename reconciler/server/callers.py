"""Who calls an endpoint of JSON, and the answers that several endpoints give."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import HTTPException, Request
from pydantic import AfterValidator, StringConstraints

from reconciler.errors import ReconcilerError
from reconciler.ports import Clock
from reconciler.server.access import Access, Caller
from reconciler.server.webhooks import refusal

SOUGHT_MAX: Final = 320  # characters of a search for people


def _in_utc(at: datetime) -> datetime:
    """The time in UTC, also if it has no zone. ValueError if UTC has no such time."""
    try:
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("there is no such time in UTC: use years from 1 to 9999") from None


Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""A time that a caller gives, in UTC."""
StorableText = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
"""A text that a caller gives: Postgres can neither store nor compare one with NUL."""


def refusals(*, may_not: str, unknown: str, conflict: str = "") -> dict[int | str, dict[str, Any]]:
    """Return the errors of an endpoint of the API, for the OpenAPI page: what 403, 404 and, where it occurs, 409 mean."""
    described = {
        401: "No token or session, or a wrong one",
        403: may_not,
        404: unknown,
        **({409: conflict} if conflict else {}),
        422: "Invalid shape",
        503: "The state or a shop does not answer",
    }
    return {code: refusal(text) for code, text in described.items()}


def sought_text(given: str) -> str:
    """Return a search for people as it is used: without invisible characters, and bounded."""
    return "".join(letter for letter in given if letter.isprintable()).strip()[:SOUGHT_MAX]


def require_caller(request: Request, access: Access, clock: Clock, *, role: str) -> Caller:
    """Return who calls. HTTPException: 401 without a token or a session, with a hint on the `role` that it needs; 503 if
    the state does not answer.
    """
    try:
        caller = access.caller(request, clock.now())
    except ReconcilerError as error:
        raise unavailable(error) from error
    if caller is None:
        hint = f"send Authorization: Bearer TOKEN, with the token of {role}"
        raise HTTPException(401, {"error": "no token", "hint": hint}, {"www-authenticate": "Bearer"})
    return caller


def unavailable(error: ReconcilerError) -> HTTPException:
    """Return the answer where the state or a shop does not answer."""
    return HTTPException(503, {"error": error.message, "hint": error.hint}, {"retry-after": "5"})


def unknown_store() -> HTTPException:
    """Return the answer to the name of a store that is not in stores.yaml."""
    return HTTPException(404, {"error": "there is no such store", "hint": "the names are those of stores.yaml"})
