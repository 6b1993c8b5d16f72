"""Load both settings files: read, fill in variables, and check. One ConfigError lists all errors."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.core.model.frozen import frozen
from reconciler.core.model.rollout import RolloutSettings
from reconciler.errors import ConfigError
from reconciler.settings.models import COLUMNS, Settings, StoreSettings, StoresFile
from reconciler.settings.schemas import keys_at
from reconciler.settings.source import KeyPath, Source, read

CONFIG = Path("config/reconciler.yaml")
STORES = Path("stores.yaml")
HINT = "`reconciler schema` prints what may be set"
VARIABLE = "the environment variable "  # how messages on a variable that is not set begin
VARIABLE_HINT = "set it where this command runs: in the shell, or in the service's environment"
EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list, such as [one, two]",
    "dict_type": "a mapping of keys to values",
    "mapping_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
"""What should be there, by pydantic's type of the error."""
SPELLINGS = {
    ("stores", "name"): "letters without accents, digits, '_', '.' and '-', with a letter or a digit first",
    ("server", "name"): "1 to 50 letters without accents, digits, '_' and '-'",
    ("stores", "api_version"): "a quarterly version of Shopify's API, such as 2026-10",
    ("defaults", "api_version"): "a quarterly version of Shopify's API, such as 2026-10",
    ("stores", "country"): "two capital letters, such as US",
    ("defaults", "country"): "two capital letters, such as US",
}
"""What the patterns of texts mean in words, by the first and the last key of the path."""

M = TypeVar("M", bound=BaseModel)


@frozen
class Loaded:
    """The checked values of both files."""

    settings: Settings
    stores: tuple[StoreSettings, ...]
    rollout: RolloutSettings = field(default_factory=RolloutSettings)


def environment() -> dict[str, str]:
    """The process's environment; read nowhere else."""
    return dict(os.environ)  # noqa: TID251  the one reader


def paths(config: Path | None, stores: Path | None, env: Mapping[str, str]) -> tuple[Path, Path]:
    """The paths of both files: from options, from the environment, or in the working directory."""
    return (
        config or Path(env.get("RECONCILER_CONFIG") or CONFIG),
        stores or Path(env.get("RECONCILER_STORES") or STORES),
    )


def store_names(stores: Path) -> tuple[str, ...]:
    """The names of the stores in this file, read without checking anything else; none if it can't be read."""
    try:
        found = read(stores, {})
    except ConfigError:
        return ()
    names = (store.get("name") for _, store in _each_store(found))
    return tuple(name for name in names if isinstance(name, str))


def load(config: Path | None, stores: Path | None, env: Mapping[str, str]) -> Loaded:
    """Load both files. ConfigError with file, line and key path of all errors."""
    wrong: list[str] = []
    hints: list[str] = []
    settings = file = None
    config_path, stores_path = paths(config, stores, env)
    try:
        settings = _settings(read(config_path, env))
    except ConfigError as error:
        wrong.append(error.message)
        hints.append(error.hint)
    try:
        file = _stores(read(stores_path, env), settings)
    except ConfigError as error:
        wrong.append(error.message)
        hints.append(error.hint)
    if settings is None or file is None:
        raise ConfigError("\n".join(wrong), hint=HINT if HINT in hints else next(filter(None, hints), HINT))
    return Loaded(settings, file.stores, file.rollout)


def _settings(source: Source) -> Settings:
    source.data = {key: value for key, value in source.data.items() if value is not None or key == "version"}
    columns = source.value_at(("profiles", "columns"))
    for key in columns if isinstance(columns, dict) else ():
        if key not in COLUMNS:
            source.fail(("profiles", "columns", key), _unknown(key, COLUMNS))
    return _checked(Settings, source)


def _stores(source: Source, settings: Settings | None) -> StoresFile:
    for key in ("defaults", "rollout"):
        if source.data.get(key, {}) is None:
            del source.data[key]
    _with_defaults(source, settings.profiles.trust_email if settings else "always")
    _no_twins(source)
    if settings is not None:
        _selectors_have_columns(source, settings.profiles.columns)
        _consents_have_column(source, settings.profiles.columns)
    return _checked(StoresFile, source)


def _with_defaults(source: Source, trust_email: str) -> None:
    """Add the defaults to each store: mappings are merged, other values of the store take precedence."""
    defaults = source.data.get("defaults", {})
    if not isinstance(defaults, dict):
        return
    for key in ("name", "shop", "trust_email"):
        if key in defaults:
            source.fail(("defaults", key), _misplaced(key))
    for index, store in _each_store(source):
        if "trust_email" in store:
            source.fail(("stores", index, "trust_email"), _misplaced("trust_email"))
        source.data["stores"][index] = {**_merged(defaults, store), "trust_email": trust_email}


def _misplaced(key: str) -> str:
    if key == "trust_email":
        return "unknown key; it is set for all stores by profiles.trust_email in reconciler.yaml"
    return f"unknown key; each store has a {key} of its own"


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings, except `auth` and `where`, which are replaced: parts of two credentials make no sense."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and key not in {"auth", "where"}:
            result[key] = _merged(below, value)
        else:
            result[key] = value
    return result


def _each_store(source: Source) -> list[tuple[int, dict[str, Any]]]:
    stores = source.data.get("stores")
    found = enumerate(stores) if isinstance(stores, list) else ()
    return [(index, store) for index, store in found if isinstance(store, dict)]


def _no_twins(source: Source) -> None:
    for key in ("name", "shop"):
        seen: dict[str, int] = {}
        for index, store in _each_store(source):
            value = store.get(key)
            if not isinstance(value, str):
                continue
            if value in seen:
                source.fail(("stores", index, key), f"'{value}' is already the {key} of stores[{seen[value]}]")
            seen.setdefault(value, index)


def _selectors_have_columns(source: Source, columns: Mapping[str, str]) -> None:
    """Refuse a selector on an unmapped column: it would match no user, and the store would release all users."""
    known = set(columns) | ({"first_name", "last_name"} if "full_name" in columns else set())
    for index, store in _each_store(source):
        where = store.get("where")
        for path in where if isinstance(where, dict) else ():
            head = str(path).split(".")[0]
            if head in COLUMNS and head not in known:
                message = f"profiles.columns maps no {head}, so this would match no user"
                source.fail(_placed(("stores", index, "where", path), source), message)


def _consents_have_column(source: Source, columns: Mapping[str, str]) -> None:
    """Refuse a consent where no metadata is mapped: none would ever be found, and nothing would say so."""
    for index, store in _each_store(source):
        consent = store.get("consent")
        for channel in consent if isinstance(consent, dict) and "metadata" not in columns else ():
            message = "profiles.columns maps no metadata, in which the consent would be found"
            source.fail(_placed(("stores", index, "consent", channel), source), message)


def _checked(model: type[M], source: Source) -> M:
    found: M | None = None
    try:
        found = model.model_validate(source.data, by_alias=True, by_name=False)
    except ValidationError as error:
        seen: list[KeyPath] = []
        for detail in error.errors(include_url=False, include_context=False, include_input=False):
            at = detail["loc"]
            where = _placed(at, source)
            if not source.has_failed_at(where) and not any(at == below[: len(at)] for below in seen):
                source.fail(where, _words(model, detail, source))
            seen.append(at)
    if found is None or source.wrong:
        raise ConfigError("\n".join(source.errors()), hint=_hint(source))
    return found


def _hint(source: Source) -> str:
    only_variables = bool(source.wrong) and all(message.startswith(VARIABLE) for _, message in source.wrong)
    return VARIABLE_HINT if only_variables else HINT


def _placed(where: KeyPath, source: Source) -> KeyPath:
    """The path where the key is written: inherited keys are under `defaults`."""
    if len(where) > 2 and where[0] == "stores" and where not in source.lines:  # noqa: PLR2004  stores, index, key
        inherited = ("defaults", *where[2:])
        if inherited in source.lines:
            return inherited
    return where


def _words(model: type[BaseModel], detail: ErrorDetails, source: Source) -> str:
    where = detail["loc"]
    value = source.value_at(where)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown(str(where[-1]), [key for key in keys_at(model, where[:-1]) if key != "trust_email"])
    if where == ("version",):
        return "write `version: 1`, the only known version of this file"
    if kind == "missing":
        return "it must be set"
    if kind == "too_short" and where == ("stores",):
        return "add at least one store"
    if value is None:
        return "it is empty: set a value, or remove the key"
    if kind == "string_type" and isinstance(value, bool | int | float):
        spelled = str(value).lower() if isinstance(value, bool) else str(value)
        return f'it must be text; YAML does not read {spelled} as text: quote it, "{spelled}"'
    if kind in EXPECTED:
        return f"it must be {EXPECTED[kind]}, not {_kind_of(value)}"
    if kind == "string_pattern_mismatch" and (spelling := SPELLINGS.get((str(where[0]), str(where[-1])))) is not None:
        return f"'{value}' is not {spelling}"
    message = detail["msg"].removeprefix("Value error, ")
    return message.replace("Input should be", "it must be", 1)


def _kind_of(value: object) -> str:
    """What a value of a YAML file is, in words; never the value, which may be a secret."""
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _unknown(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key.lower(), list(known), n=1, cutoff=0.5)
    return f"unknown key; did you mean '{near[0]}'?" if near else f"unknown key; known are {', '.join(known) or 'none'}"
