"""One YAML file: its values with variables filled in, and the line of each key.

JSON is also valid, including escaped emoji and tabs. Scalars follow YAML 1.2: `NO`, `on`, `12:30`, `01234` and `2026-10-01`
are text, as they nearly always are in these files (a country, a time, a post code, a version). Duplicate keys, unknown
tags, alias bombs and oversized files are refused with their lines. All errors are ConfigError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from reconciler.errors import ConfigError
from reconciler.outbound.reading import pause_collection
from reconciler.settings.variables import UNSET, Missing, fill_in

KeyPath = tuple[int | str, ...]
SIZE_MAX = 4 * 1024 * 1024
NODES_MAX = 200_000  # after expanding aliases: about ten thousand stores
DEPTH_MAX = 50
COMPOSED_MAX = 100  # levels that PyYAML composes, by calls of itself

_SURROGATE = re.compile("[\ud800-\udfff]")
_HALF = "an escape in it is half a character: \\ud83d and the like come in pairs"
_BARE_VARIABLE = re.compile(r"(?<![\"'])\$\{")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\t')
_TAG = "tag:yaml.org,2002:"
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner with the scalars of YAML 1.2's core schema, and merge keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  as PyYAML declares it
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if parent is not None and self._depth == COMPOSED_MAX:
            raise ComposerError(None, None, "it is nested too deeply", parent.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


# libyaml scans in a tenth of the time. It takes fewer files, and says less about their errors.
_FastLoader: type[Any] = type(
    "_FastLoader",
    (yaml.CSafeLoader if yaml.__with_libyaml__ else _Loader,),
    {"yaml_implicit_resolvers": _Loader.yaml_implicit_resolvers},
)

for _name, _pattern, _first in (
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", "|".join(_BOOLEANS), "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:(?:0|[1-9][0-9]*)?\.[0-9]+|(?:0|[1-9][0-9]*)\.?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(
        _TAG + _name, re.compile(f"(?:{_pattern})\\Z"), [*_first, *([""] if _name == "null" else [])]
    )


@dataclass
class Source:
    """A file's values, the line of each, and the errors found so far."""

    path: Path
    data: dict[str, Any] = field(repr=False)  # secrets are in it
    lines: dict[KeyPath, int] = field(default_factory=dict)
    wrong: dict[tuple[KeyPath, str], int] = field(default_factory=dict)

    def fail(self, where: KeyPath, message: str) -> None:
        """Record an error at this key, with the line of the nearest key in the file."""
        known = where
        while known and known not in self.lines:
            known = known[:-1]
        self.wrong[where, message] = self.lines.get(known, 1)

    def has_failed_at(self, where: KeyPath) -> bool:
        """Whether this key, or one above or below it, already has an error, so that others would only repeat it."""
        return any(at == where[: len(at)] or where == at[: len(where)] for at, _ in self.wrong)

    def errors(self) -> list[str]:
        """The recorded errors, a line each, in the order of the file."""
        found = sorted((line, path_text(where), message) for (where, message), line in self.wrong.items())
        return [f"{self.path}:{line}: {where or 'the file'}: {message}" for line, where, message in found]

    def value_at(self, where: KeyPath) -> Any:
        """The value at this path; UNSET without one."""
        value: Any = self.data
        for step in where:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return UNSET
        return value


def read(path: Path, env: Mapping[str, str]) -> Source:
    """Read the file and fill in `${…}`. ConfigError if it is not a YAML mapping; other errors are added to `wrong`."""
    node = _composed(path, _text(path))
    source = Source(path, {})
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:1: the file: it must be a mapping, beginning with `version: 1`")
    source.data = _Reader(source, env).mapping(node, ())
    return source


def path_text(where: KeyPath) -> str:
    """A key's path as people write it.

    >>> path_text(("stores", 0, "fields", "email"))
    'stores[0].fields.email'
    """
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_MAX + 1)
        text = raw.decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} can't be read: {error.strerror}",
            hint="start in the project's folder, name the file by --config or --stores, or write both by reconciler init",
        ) from error
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: it is not UTF-8 text", hint="save the file as UTF-8") from error
    if len(raw) > SIZE_MAX:
        raise ConfigError(f"{path} is larger than {SIZE_MAX // 1024 // 1024} MiB: it can't be a settings file")
    return text


def _composed(path: Path, text: str) -> yaml.Node | None:
    """The file's nodes: by libyaml, and where it refuses the file by PyYAML's own scanner, or with its error."""
    text = _of_json(text)
    with suppress(yaml.YAMLError, ValueError):
        return yaml.compose(text, Loader=_FastLoader)
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = error.problem or error.context or "it can't be read"
        raise ConfigError(f"{path}:{line}: not valid YAML: {problem}{_advice(problem, text, line)}") from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError(f"{path}:{line}: not valid YAML: it contains a control character") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML") from error


def _of_json(text: str) -> str:
    """Convert JSON for PyYAML, with every value on its line; other text is unchanged.

    YAML 1.2 includes JSON, but PyYAML accepts neither tabs between tokens nor control characters in strings.
    """
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return text
    try:
        with pause_collection():
            json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return text
    return _JSON_TOKEN.sub(_as_yaml, text)


def _as_yaml(token: re.Match[str]) -> str:
    found = token.group()
    if not found.startswith('"'):
        return " "  # a tab
    return "".join(
        f"\\u{ord(c):04x}" if "\x7f" <= c <= "\x9f" or c in "\u2028\u2029\ufeff\ufffe\uffff" else c for c in found
    )


def _whole(text: str) -> str:
    """The text with surrogate pairs combined into characters. ValueError for a lone surrogate."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16") if _SURROGATE.search(text) else text


def _advice(problem: str, text: str, line: int) -> str:
    """The likely fix of a YAML error, or empty."""
    if "'\\t'" in problem:
        return " (indent with spaces: YAML allows no tabs)"
    if "<block end>" in problem:
        return " (compare the indentation with the lines above)"
    if "expected ','" not in problem:
        return ""
    lines = text.splitlines()
    if line <= len(lines) and _BARE_VARIABLE.search(lines[line - 1]):
        return ' (quote a variable inside { } and [ ]: "${NAME}")'
    return " (is every { and [ before it closed?)"


class _BombError(Exception):
    """Aliases expand to too many values, or contain themselves."""


@dataclass
class _Reader:
    """Converts nodes to values, and counts them to bound the expansion of aliases."""

    source: Source
    env: Mapping[str, str]
    nodes: int = 0

    def mapping(self, root: yaml.MappingNode, where: KeyPath) -> dict[str, Any]:
        """The values of the whole file."""
        try:
            values = self._mapping(root, where)
        except _BombError:
            raise ConfigError(
                f"{self.source.path}: its aliases unfold to more than {NODES_MAX} values, or {DEPTH_MAX} levels"
            ) from None
        return values

    def _value(self, node: yaml.Node, where: KeyPath) -> Any:
        self.nodes += 1
        if self.nodes > NODES_MAX or len(where) > DEPTH_MAX:
            raise _BombError
        self.source.lines.setdefault(where, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            if node.tag != _TAG + "seq":
                self.source.fail(where, f"the tag {_shown_tag(node)} has no meaning here")
            return self._sequence(node, where)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        return self._scalar(node, where)

    def _sequence(self, node: yaml.SequenceNode, where: KeyPath) -> list[Any]:
        values: list[Any] = []
        for item in node.value:
            place = (*where, len(values))
            self.source.lines[place] = item.start_mark.line + 1
            value = self._value(item, place)
            if value is not UNSET:
                values.append(value)
        return values

    def _mapping(self, node: yaml.MappingNode, where: KeyPath) -> dict[str, Any]:
        if node.tag != _TAG + "map":
            self.source.fail(where, f"the tag {_shown_tag(node)} has no meaning here")
        values: dict[str, Any] = {}
        seen: set[str] = set()
        for key_node, value_node, merged in self._pairs(node, where):
            key = self._characters(str(key_node.value), where)
            place = (*where, key)
            if key in seen:
                if not merged:
                    self.source.lines[place] = key_node.start_mark.line + 1
                    self.source.fail(place, "this key is repeated")
                continue
            seen.add(key)
            self.source.lines[place] = key_node.start_mark.line + 1
            value = self._value(value_node, place)
            if value is not UNSET:
                values[key] = value
        return values

    def _pairs(
        self, node: yaml.MappingNode, where: KeyPath, depth: int = 0
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node, bool]]:
        """The mapping's own keys, then those merged by `<<`: the first of each wins."""
        self.nodes += len(node.value)
        if self.nodes > NODES_MAX or depth > DEPTH_MAX:
            raise _BombError
        merges: list[yaml.Node] = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.source.lines.setdefault(where, key.start_mark.line + 1)
                self.source.fail(where, f"line {key.start_mark.line + 1} has a key that is not plain text")
            elif key.tag == _TAG + "merge":
                merges.extend(value.value if isinstance(value, yaml.SequenceNode) else [value])
            else:
                yield key, value, depth > 0
        for merge in merges:
            if isinstance(merge, yaml.MappingNode):
                yield from ((key, value, True) for key, value, _ in self._pairs(merge, where, depth + 1))
            else:
                self.source.fail((*where, "<<"), "only a mapping, or a list of mappings, can be merged in")

    def _scalar(self, node: yaml.Node, where: KeyPath) -> Any:
        text = self._characters(str(node.value), where)
        kind = node.tag.removeprefix(_TAG)
        if kind not in {"str", "int", "float", "bool", "null", "merge"}:
            self.source.fail(where, f"the tag {_shown_tag(node)} has no meaning here")
            return text
        if kind in {"str", "merge"}:
            return self._text(text, where)
        try:
            value = _plain(kind, text)
        except (ValueError, KeyError):
            self.source.fail(where, f"it is tagged as {kind}, but is not one")
            return text
        if "where" in where and (why := _unclear_selector(kind, text, value)):
            self.source.fail(where, why)
        return value

    def _characters(self, text: str, where: KeyPath) -> str:
        """The text with surrogate pairs combined; records an error for a lone surrogate."""
        try:
            return _whole(text)
        except ValueError:
            self.source.fail(where, _HALF)
            return _SURROGATE.sub("\ufffd", text)

    def _text(self, text: str, where: KeyPath) -> Any:
        if "${" not in text:
            return text
        try:
            value = fill_in(text, self.env)
        except Missing as missing:
            for message in missing.messages:
                self.source.fail(where, message)
            return ""
        # An empty variable must not widen a selector: there, it is empty text.
        return "" if value is UNSET and "where" in where else value


def _plain(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return _BOOLEANS[text]
    return int(text) if kind == "int" else float(text)


def _unclear_selector(kind: str, text: str, value: Any) -> str:
    """Why a selector's value is ambiguous, so that it might match no user and release all; empty if it is clear."""
    if kind == "null" and not text:
        return "it has no value: write null for users without one, or '' for an empty text"
    if kind in {"int", "float"} and str(value) != text:
        return f"{text} is read as the number {value}: write it in quotes, '{text}'"
    return ""


def _shown_tag(node: yaml.Node) -> str:
    return str(node.tag).replace(_TAG, "!!")
