"""One YAML file: its values with variables filled in, and the line of each key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reconciler.errors import ConfigError

Path_ = tuple[int | str, ...]
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Source:
    """A file's values, where each stands, and what was found wrong so far."""

    path: Path
    data: dict[str, Any]
    lines: dict[Path_, int]
    wrong: list[str] = field(default_factory=list)

    def fail(self, where: Path_, message: str) -> None:
        """Note an error at this key; the nearest key that stands in the file gives the line."""
        known = where
        while known and known not in self.lines:
            known = known[:-1]
        self.wrong.append(f"{self.path}:{self.lines.get(known, 1)}: {dotted(where) or 'the file'}: {message}")

    def stop_if_wrong(self) -> None:
        """Raise what was noted, if anything was: all of it, a line each."""
        if self.wrong:
            raise ConfigError("\n".join(self.wrong), hint="`reconciler schema` prints what may be set")


def read(path: Path, env: Mapping[str, str]) -> Source:
    """The file, with `${…}` filled in; ConfigError for what can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(
            f"{path} can't be read: {error.strerror}",
            hint="start in the project's folder, or name it by --config, --stores",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: it is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem or error.context}") from error
    source = Source(path, {}, {})
    if not isinstance(node, yaml.MappingNode):
        source.fail((), "it must be a mapping, beginning with `version: 1`")
        source.stop_if_wrong()
    values = _value(node, (), source, env)
    source.data.update(values if isinstance(values, dict) else {})
    source.stop_if_wrong()
    return source


def dotted(where: Path_) -> str:
    """`stores[0].fields.email`."""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _value(node: yaml.Node, where: Path_, source: Source, env: Mapping[str, str]) -> Any:
    source.lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*where, index), source, env) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, where, source, env)
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(node)  # type: ignore[no-untyped-call]
    except (yaml.YAMLError, ValueError):
        value = node.value
    if isinstance(value, str) and "${" in value:
        return _filled(value, where, source, env)
    return value


def _mapping(node: yaml.MappingNode, where: Path_, source: Source, env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        place = (*where, key)
        if key in values:
            source.lines[place] = key_node.start_mark.line + 1
            source.fail(place, "this key stands here twice")
            continue
        source.lines[place] = key_node.start_mark.line + 1
        values[key] = _value(value_node, place, source, env)
    return values


def _filled(text: str, where: Path_, source: Source, env: Mapping[str, str]) -> Any:
    def value_of(match: re.Match[str]) -> str:
        inner = match.group(1)
        if inner.startswith("file:"):
            return _file(inner.removeprefix("file:"), where, source)
        name, has_default, default = inner.partition(":-")
        if not _NAME.fullmatch(name):
            source.fail(where, f"'${{{inner}}}' is no variable; use ${{NAME}}, ${{NAME:-default}} or ${{file:PATH}}")
            return ""
        if env.get(name):
            return env[name]
        if not has_default:
            source.fail(where, f"the environment has no {name}")
        return default

    filled = _VARIABLE.sub(value_of, text)
    whole = _VARIABLE.fullmatch(text) is not None
    return None if whole and filled == "" else filled


def _file(name: str, where: Path_, source: Source) -> str:
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        source.fail(where, f"the file {name} can't be read: {getattr(error, 'strerror', None) or 'not text'}")
        return ""
