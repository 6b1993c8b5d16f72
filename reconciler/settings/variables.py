"""The variables `${NAME}`, `${NAME:-default}` and `${file:PATH}` in a value. Reads the named files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final

FILE_MAX = 64 * 1024
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_FILE = re.compile(rb"\$\{file:([^}\r\n]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Unset(Enum):
    UNSET = "unset"


UNSET: Final = _Unset.UNSET
"""The value of a single variable with an empty default: its key counts as missing."""


class Missing(Exception):
    """Variables that can't be filled in, a message each, without values."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


def fill_in(text: str, env: Mapping[str, str]) -> str | _Unset:
    """The text with variables replaced by their values, or UNSET. Values are not scanned for variables again.

    Missing with all errors of this text.

    >>> fill_in("postgresql://${USER:-ada}@${HOST}/x", {"HOST": "db.example"})
    'postgresql://ada@db.example/x'
    """
    wrong: list[str] = []

    def value_of(match: re.Match[str]) -> str:
        try:
            return _one(match.group(1), env)
        except ValueError as error:
            wrong.append(str(error))
            return ""

    result = _VARIABLE.sub(value_of, text)
    if "${" in _VARIABLE.sub("", text):
        wrong.append("a '${' is not closed by '}'")
    if wrong:
        raise Missing(wrong)
    return UNSET if result == "" and _VARIABLE.fullmatch(text) else result


def files_named(content: bytes) -> list[Path]:
    r"""The paths of `${file:PATH}` in a settings file with this content, each once, in order.

    Searches the raw text, which need not be valid YAML; in JSON, `/` may be written as `\/`.

    >>> [str(path) for path in files_named(b"a: ${file:/run/a}\nb: x${file:b}${file:/run/a}")]
    ['/run/a', 'b']
    """
    names = (name.decode("utf-8", "replace").replace("\\/", "/") for name in _FILE.findall(content))
    return [Path(name) for name in dict.fromkeys(names) if name.strip() and "\0" not in name]


def _one(inner: str, env: Mapping[str, str]) -> str:
    if inner.startswith("file:"):
        return _file(inner.removeprefix("file:"))
    name, has_default, default = inner.partition(":-")
    if not _NAME.fullmatch(name):
        raise ValueError(f"'${{{inner}}}' is not a variable: use ${{NAME}}, ${{NAME:-default}} or ${{file:PATH}}")
    if "${" in default:
        raise ValueError(f"the default of ${{{name}}} contains another variable: variables can't be nested")
    if env.get(name):
        return env[name]
    if has_default:
        return default
    if name in env:
        raise ValueError(f"the environment variable {name} is empty; write ${{{name}:-}} if it may be")
    raise ValueError(f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")


def _file(name: str) -> str:
    """The file's trimmed text: files of secrets usually end with a line break."""
    if not name.strip():
        raise ValueError("${file:} names no file")
    try:
        with Path(name).open("rb") as file:
            raw = file.read(FILE_MAX + 1)
        text = raw.decode("utf-8").strip()
    except OSError as error:
        raise ValueError(f"the file {name} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"the file {name!r} can't be read: it is not text") from error
    if len(raw) > FILE_MAX:
        raise ValueError(f"the file {name} is larger than {FILE_MAX // 1024} KiB: it can't be a setting")
    if not text:
        raise ValueError(f"the file {name} is empty")
    return text
