"""JSON Schemas of both files, for editors and for suggestions of keys."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter

from reconciler.settings.models import Settings, StoresFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def json_schemas() -> dict[str, dict[str, Any]]:
    """The schemas by file name; `${…}` is allowed as any value."""
    return {
        "reconciler.schema.json": {"$schema": DIALECT, **_open_to_variables(_schema(Settings))},
        "stores.schema.json": {"$schema": DIALECT, **_open_to_variables(_stores_schema())},
    }


def keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that a file of this model may have at this path."""
    schema = _schema(model)
    part: Any = schema
    for step in path:
        part = _resolved(part, schema)
        if isinstance(step, int):
            part = part.get("items", {})
        else:
            part = part.get("properties", {}).get(step) or part.get("additionalProperties") or {}
    return list(_resolved(part, schema).get("properties", {}))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return TypeAdapter(model).json_schema(by_alias=True)


def _stores_schema() -> dict[str, Any]:
    """The schema of stores.yaml, in which a store needs only name and shop: `defaults` may have the rest."""
    schema = TypeAdapter(StoresFile).json_schema(by_alias=True)
    store = schema["$defs"]["StoreSettings"]
    store["properties"].pop("trust_email")
    store["required"] = ["name", "shop"]
    inherited = {name: part for name, part in store["properties"].items() if name not in {"name", "shop"}}
    schema["properties"]["defaults"] = {
        "type": "object",
        "description": schema["properties"]["defaults"]["description"],
        "properties": inherited,
        "additionalProperties": False,
    }
    return schema


def _open_to_variables(schema: Any) -> Any:
    """The schema in which all values but free text may also be `${NAME}`."""
    if isinstance(schema, list):
        return [_open_to_variables(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {key: _open_to_variables(part) for key, part in schema.items()}
    type_ = opened["type"] if isinstance(opened.get("type"), str) else ""  # else a property of this name
    narrow = type_ in {"number", "integer", "boolean"} and "const" not in opened
    if narrow or (type_ == "string" and {"enum", "pattern"} & opened.keys()):
        outer = {key: opened.pop(key) for key in ("title", "description", "default") if key in opened}
        return {**outer, "anyOf": [opened, _VARIABLE]}
    return opened


def _resolved(part: Any, schema: dict[str, Any]) -> dict[str, Any]:
    while isinstance(part, dict) and ("$ref" in part or "anyOf" in part):
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part["anyOf"][0]
    return part if isinstance(part, dict) else {}
