"""Read, fill in, check: from a file to values, or to one ConfigError that lists everything that is wrong in it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from reconciler.errors import ConfigError
from reconciler.settings.models import Settings, StoresFile, StoreSettings
from reconciler.settings.source import Source, read

CONFIG = Path("config/reconciler.yaml")
STORES = Path("stores.yaml")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Both files, checked."""

    settings: Settings
    stores: tuple[StoreSettings, ...]


def environment() -> dict[str, str]:
    """The process's environment: the one place that touches it."""
    return dict(os.environ)  # noqa: TID251  the one reader


def load(config: Path | None, stores: Path | None, env: Mapping[str, str]) -> Loaded:
    """Both files; ConfigError with file, line and key path of everything that is wrong."""
    config = config or Path(env.get("RECONCILER_CONFIG") or CONFIG)
    stores = stores or Path(env.get("RECONCILER_STORES") or STORES)
    settings = _checked(Settings, read(config, env))
    source = read(stores, env)
    _with_defaults(source, settings.profiles.trust_email)
    file = _checked(StoresFile, source)
    _no_twins(file.stores, source)
    return Loaded(settings, file.stores)


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas of both files, by file name; `${…}` is allowed wherever a value may stand."""
    return {
        "reconciler.schema.json": _open_to_variables(TypeAdapter(Settings).json_schema(by_alias=True)),
        "stores.schema.json": _open_to_variables(_stores_schema()),
    }


def _stores_schema() -> dict[str, Any]:
    schema = TypeAdapter(StoresFile).json_schema(by_alias=True)
    store = schema["$defs"]["StoreSettings"]
    store["properties"].pop("trust_email")
    defaults = {name: part for name, part in store["properties"].items() if name not in {"name", "shop"}}
    schema["properties"]["defaults"] = {"type": "object", "properties": defaults, "additionalProperties": False}
    store["required"] = ["name", "shop"]
    return schema


def _open_to_variables(schema: Any) -> Any:
    """Numbers and booleans may also be written as ${NAME}."""
    if isinstance(schema, list):
        return [_open_to_variables(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {key: _open_to_variables(part) for key, part in schema.items()}
    if opened.get("type") in {"number", "integer", "boolean"}:
        return {"anyOf": [opened, {"type": "string", "pattern": r"\$\{"}]}
    return opened


def _with_defaults(source: Source, trust_email: str) -> None:
    """Give each store what it does not say itself: maps are merged, everything else is replaced."""
    data = source.data
    defaults = data.get("defaults")
    stores = data.get("stores")
    if isinstance(defaults, dict):
        for key in ("name", "shop"):
            if key in defaults:
                source.fail(("defaults", key), f"'{key}' belongs to each store, not to defaults")
    source.stop_if_wrong()
    if not isinstance(stores, list):
        return
    for index, store in enumerate(stores):
        if isinstance(store, dict):
            if "trust_email" in store:
                source.fail(
                    ("stores", index, "trust_email"), "unknown key; set profiles.trust_email in reconciler.yaml"
                )
            merged = _merged(defaults, store) if isinstance(defaults, dict) else dict(store)
            stores[index] = {**merged, "trust_email": trust_email}
    source.stop_if_wrong()


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, dict) and isinstance(value, dict) and key not in {"auth", "where"}
        result[key] = _merged(below, value) if both and isinstance(below, dict) else value
    return result


M = TypeVar("M", bound=BaseModel)


def _checked(model: type[M], source: Source) -> M:
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False, include_input=False):
            source.fail(detail["loc"], _words(model, detail))
    source.stop_if_wrong()
    raise ConfigError(f"{source.path} is wrong")


def _words(model: type[BaseModel], detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        near = difflib.get_close_matches(key, _keys_at(model, detail["loc"][:-1]), n=1, cutoff=0.5)
        return f"unknown key; did you mean '{near[0]}'?" if near else "unknown key"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["loc"] and detail["loc"][-1] == "country":
        message += " (quote it: YAML reads a bare NO as false)"
    return message


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    schema = TypeAdapter(model).json_schema(by_alias=True)
    part: Any = schema
    for step in path:
        part = _resolved(part, schema)
        if isinstance(step, int):
            part = part.get("items", {})
        else:
            part = part.get("properties", {}).get(step) or part.get("additionalProperties") or {}
    return list(_resolved(part, schema).get("properties", {}))


def _resolved(part: Any, schema: dict[str, Any]) -> dict[str, Any]:
    while isinstance(part, dict) and ("$ref" in part or "anyOf" in part):
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part["anyOf"][0]
    return part if isinstance(part, dict) else {}


def _no_twins(stores: tuple[StoreSettings, ...], source: Source) -> None:
    for key in ("name", "shop"):
        seen: dict[str, int] = {}
        for index, store in enumerate(stores):
            value = getattr(store, key)
            if value in seen:
                source.fail(("stores", index, key), f"'{value}' is already the {key} of stores[{seen[value]}]")
            seen.setdefault(value, index)
    source.stop_if_wrong()
