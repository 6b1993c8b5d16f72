"""What each of our connections to Postgres says of itself."""

from __future__ import annotations

from typing import Any, Final

POSTGRES_CLIENT: Final[dict[str, Any]] = {
    "application_name": "customer-parity",
    # Before what the role or the environment sets: one character that their encoding lacks would end a whole read.
    "client_encoding": "utf8",
    "prepare_threshold": None,  # a transaction pooler gives the next transaction another connection
}
