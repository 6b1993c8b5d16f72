"""JSON in the values of metafields: read as strictly as Shopify reads it, and written as it is kept."""

import json
import re
from typing import Any


def loaded(value: str) -> Any:
    """JSON as Ruby's parser takes it: no NaN, and neither numbers nor nesting without end."""
    try:
        return json.loads(value, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nesting is too deep") from error


def _refuse(word: str) -> Any:
    raise ValueError(word)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_words(value: str, error: ValueError) -> str:
    """As Ruby's parser says what it met."""
    if not isinstance(error, json.JSONDecodeError):
        return "Value is invalid JSON."
    met = re.match(r"\w+|.?", value[error.pos :])
    token = met[0] if met else ""
    wanted = "object key" if "property name" in error.msg else "value"
    where = f"line {error.lineno} column {error.colno}"
    return f"Value is invalid JSON: expected {wanted}, got '{token}' at {where}."
