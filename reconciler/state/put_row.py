"""`put_row`: write one mapping and its event in one statement, where no other row of the state is concerned.

In a transaction of their own, the checks and the write are five round trips, and a nudge waits for them twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Table,
    bindparam,
    exists,
    literal_column,
    not_,
    or_,
    select,
)

from reconciler.core.model.request import Claim
from reconciler.state.database.queries import insert_into
from reconciler.state.tables.mappings import EventRow, MappingRow

_mapping: Table = MappingRow.__table__
_event: Table = EventRow.__table__
OF_EVENT = "event_"  # before the names of an event's values: mappings have columns of the same names
_ONE = literal_column("1", Integer())
Unless = Callable[[Any], ColumnElement[bool]]


def put_row(
    connection: Connection, row: dict[str, Any], event: dict[str, Any] | None, *, claim: Claim | None, unless: Unless
) -> bool:
    """Write the row and its event if the user has this customer already, or the row has none; return whether they were.

    Where not, nothing is written: the claim is lost, the customer is another one, or there is a row with `unless`. It is
    refused if another user has taken the customer meanwhile. The claim holds until the transaction ends.
    """
    values = row if claim is None else row | _values_of(claim)
    is_for_sqlite = connection.dialect.name == "sqlite"
    at_once = () if is_for_sqlite or event is None else tuple(event)
    statement = put_statement(is_for_sqlite, tuple(row), claim is not None, unless, at_once)
    if at_once and event is not None:
        values = values | {OF_EVENT + name: value for name, value in event.items()}
    written = connection.execute(statement, values).first() is not None
    if written and event is not None and not at_once:
        connection.execute(_event.insert().inline(), [event])
    return written


def _values_of(claim: Claim) -> dict[str, Any]:
    return {"claim_user": claim.clerk_user_id, "claim_store": claim.store, "claim_fencing": claim.fencing}


@cache
def put_statement(
    is_for_sqlite: bool,  # noqa: FBT001  a part of the key
    names: tuple[str, ...],
    is_claimed: bool,  # noqa: FBT001  the same
    unless: Unless,
    of_event: tuple[str, ...] = (),
) -> Any:
    """The statement, built once. It returns a row if it has written."""
    given = select(*(_value(_mapping.c[name]) for name in names)).where(_has_customer_or_none())
    if is_claimed:
        given = given.select_from(_hold())
    statement = insert_into(_mapping, is_for_sqlite=is_for_sqlite).from_select(names, given, include_defaults=False)
    keys = [column.name for column in _mapping.primary_key]
    put = statement.on_conflict_do_update(
        index_elements=keys,
        set_={name: statement.excluded[name] for name in names if name not in keys},
        where=not_(unless(statement.excluded)),
    ).returning(_mapping.c.clerk_user_id)
    if not of_event:
        return put
    written = put.cte("written")
    told = select(*(_value(_event.c[name], OF_EVENT) for name in of_event)).select_from(written)
    return _event.insert().from_select(of_event, told, include_defaults=False).returning(_event.c.id)


def _value(column: Column[Any], prefix: str = "") -> Any:
    return bindparam(prefix + column.name, type_=column.type)


def _has_customer_or_none() -> ColumnElement[bool]:
    """Whether the new row takes no customer from another one: no two rows of a shop have the same one."""
    own = _mapping.alias("own")
    customer = _value(_mapping.c.shopify_customer_id)
    is_own = (
        own.c.shopify_shop == _value(_mapping.c.shopify_shop),
        own.c.clerk_user_id == _value(_mapping.c.clerk_user_id),
        own.c.shopify_customer_id == customer,
    )
    return or_(customer.is_(None), exists(_ONE).where(*is_own))


def _hold() -> Any:
    """The row of the claim if it still holds, locked until the write is done: `hold` of postgres.sql."""
    from reconciler.state.tables.requests import RequestRow  # noqa: PLC0415  commands have no claims

    request: Table = RequestRow.__table__
    mine = select(_ONE.label("held")).where(
        request.c.clerk_user_id == bindparam("claim_user"),
        request.c.store == bindparam("claim_store"),
        request.c.fencing == bindparam("claim_fencing"),
        request.c.lease_until.is_not(None),
    )
    return mine.with_for_update(read=True).subquery("hold")
