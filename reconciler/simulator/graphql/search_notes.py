"""Notes on a search query for `extensions.search` of a reply, if something is wrong with the query.

Live replies of the Admin API, read 2026-11-29.
"""

import re
from typing import Final

from reconciler.simulator.graphql.documents import Json

_TERM: Final = re.compile(r"""(?:(?P<field>[A-Za-z_][\w.]*):)?(?P<sign>>=|<=|>|<)?(?P<value>"[^"]*"|'[^']*'|\S+)""")
DEFAULT: Final = "default"
"""The field of a term without a field."""


def note(text: str, warnings: list[Json]) -> Json:
    """The entry of one query without its path; empty if there are no warnings."""
    return {"query": text, "parsed": _parsed(text), "warnings": warnings} if warnings else {}


def invalid_field(name: str) -> Json:
    return {"field": name, "message": "Invalid search field for this query.", "code": "invalid_field"}


def invalid_value(name: str, value: str) -> Json:
    return {"field": name, "message": f"Input `{value}` is not an accepted value.", "code": "invalid_value"}


def unnamed_field() -> Json:
    words = "Input must use named search fields in this query."
    return {"field": DEFAULT, "message": words, "code": "missing_named_field"}


def _parsed(text: str) -> Json:
    terms = [
        {"field": found["field"] or DEFAULT, "match_all": found["value"].strip("\"'")}
        for found in _TERM.finditer(text)
        if found["field"] or found["value"].upper() not in {"AND", "OR", "NOT"}
    ]
    return terms[0] if len(terms) == 1 else {"and": terms}
