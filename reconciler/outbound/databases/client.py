"""What each of our connections to Postgres says of itself, and asks of the server."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine, event

POSTGRES_CLIENT: Final[dict[str, Any]] = {
    "application_name": "customer-parity",
    # Before what the role or the environment sets: one character that their encoding lacks would end a whole read.
    "client_encoding": "utf8",
    "prepare_threshold": None,  # a transaction pooler gives the next transaction another connection
}


def keep_iso_dates(engine: Engine) -> None:
    """Have the server write times as ISO 8601 where the role or the database says otherwise: the driver reads no other.

    PgBouncer knows this setting and gives it to each connection that this client gets. The order of day and month, by
    which the app's own views read dates, stays.
    """

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        if not (connection.info.parameter_status("DateStyle") or "ISO").startswith("ISO"):
            connection.execute("SET DateStyle = ISO")
            connection.commit()
