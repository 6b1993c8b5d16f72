"""Who calls an endpoint of JSON, and the answers that several endpoints give."""

from __future__ import annotations

from fastapi import HTTPException, Request

from reconciler.errors import ReconcilerError
from reconciler.ports import Clock
from reconciler.server.access import Access, Caller


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
