"""Nudges with the token: of a user by id, or of a row of the profiles table that a database webhook names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from reconciler.core.model.ids import USER_ID_MAX, ClerkUserId, StoreName
from reconciler.errors import NotAnEvent
from reconciler.server.access import Access
from reconciler.server.callers import unknown_store
from reconciler.server.health import WebhookMetrics
from reconciler.server.service import Intake
from reconciler.server.webhooks import (
    ERRORS,
    JSON_BODY,
    MAY_NOT,
    RawBody,
    Result,
    Sources,
    WebhookReceiver,
    WebhookResult,
)

UserId = Annotated[ClerkUserId, StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$")]


class Nudge(BaseModel):
    """A user to reconcile now, in these stores or in all."""

    model_config = ConfigDict(extra="forbid")

    user: UserId
    stores: tuple[StoreName, ...] | None = Field(default=None, min_length=1, max_length=1000)


class RowChange(BaseModel):
    """A Supabase database webhook. Only the row's key is read."""

    type: Literal["INSERT", "UPDATE", "DELETE"]
    table: str
    schema_: str = Field(alias="schema")
    record: Mapping[str, Any] | None = None
    old_record: Mapping[str, Any] | None = None


def routes(service: Intake, sources: Sources, access: Access, metrics: WebhookMetrics) -> APIRouter:
    """Return the routes /webhooks/supabase and /nudge."""
    router = APIRouter(tags=["nudges"])
    receiver = WebhookReceiver(service, metrics)

    def bearer(request: Request) -> None:
        if not access.has_nudge_token:
            raise HTTPException(
                403, {"error": "no token that may nudge is configured", "hint": "set server.nudge_token"}
            )
        token = access.bearer(request)
        if token is not None and token.role == "viewer":
            raise HTTPException(403, {"error": "this token may only read", "hint": "use server.nudge_token"})
        if token is None:
            raise HTTPException(
                401,
                {"error": "the token is missing or wrong", "hint": "send Authorization: Bearer TOKEN"},
                {"www-authenticate": "Bearer"},
            )

    @router.post(
        "/webhooks/supabase",
        status_code=202,
        response_model=WebhookResult,
        responses={**ERRORS, 403: MAY_NOT[403]},
        dependencies=[Depends(bearer)],
        openapi_extra=JSON_BODY,
    )
    def supabase(body: RawBody) -> JSONResponse:
        """Receives a database webhook of the profiles table, with the token in Authorization or X-Reconciler-Token."""
        return receiver.answer("supabase", lambda: _row_result(service, sources, _row_change(body)))

    @router.post(
        "/nudge",
        status_code=202,
        response_model=WebhookResult,
        responses={**ERRORS, **MAY_NOT},
        dependencies=[Depends(bearer)],
    )
    def nudge(wish: Nudge) -> JSONResponse:
        """Reconciles one user now."""
        unknown = [name for name in wish.stores or () if name not in sources.shops]
        if unknown:
            raise unknown_store()

        def work() -> Result:
            service.nudge_user(wish.user, reason="nudge", stores=wish.stores)
            return "queued"

        return receiver.answer("nudge", work)

    return router


def _row_result(service: Intake, sources: Sources, change: RowChange) -> Result:
    schema, _, table = sources.table.rpartition(".")
    if change.table != table or (schema and change.schema_ != schema):
        return "ignored"
    named = [_user_of(row.get(sources.key_column)) for row in (change.record, change.old_record) if row]
    users = dict.fromkeys(user for user in named if user.isprintable() and 0 < len(user) <= USER_ID_MAX)
    for user in users:
        service.nudge_user(ClerkUserId(user), reason="profile changed")
    return "queued" if users else "ignored"


def _user_of(key: object) -> str:
    """The user that a row's key names, as the table is read; empty if it names none.

    The key may be a column of numbers, or of `char(n)`, which Postgres pads.
    """
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    return key.rstrip(" ") if isinstance(key, str) else ""


def _row_change(body: bytes) -> RowChange:
    try:
        return RowChange.model_validate_json(body)
    except ValidationError as error:
        places = ", ".join(sorted({".".join(str(part) for part in e["loc"]) or "body" for e in error.errors()}))
        raise NotAnEvent(
            f"not a Supabase database webhook: {places}", hint="its body is {type, table, schema, record, old_record}"
        ) from None
