"""JSON in the values of metafields: parsed as strictly as Shopify does, and written as it is stored."""

import json
import re
from typing import Any


def load_json(value: str) -> Any:
    """Parse JSON as Ruby does: without NaN, and with limits for numbers and nesting."""
    try:
        return json.loads(value, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nesting is too deep") from error


def _refuse(word: str) -> Any:
    raise ValueError(word)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_words(value: str, error: ValueError) -> str:
    """The error message of Ruby's parser."""
    if not isinstance(error, json.JSONDecodeError):
        return "Value is invalid JSON."
    met = re.match(r"\w+|.?", value[error.pos :])
    token = met[0] if met else ""
    wanted = "object key" if "property name" in error.msg else "value"
    where = f"line {error.lineno} column {error.colno}"
    return f"Value is invalid JSON: expected {wanted}, got '{token}' at {where}."
