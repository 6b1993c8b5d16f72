"""The differences that are known, each with its reason: `differences.txt` beside this module."""

from pathlib import Path
from typing import Final

Place = tuple[str, int, str]
"""A recording, the number of a call in it, and a path in the reply."""
FILE: Final = Path(__file__).with_name("differences.txt")


class ListError(Exception):
    pass


def read_listed(text: str) -> dict[Place, str]:
    """Each place with its reason: a line that ends with a colon, above the lines of its places."""
    found: dict[Place, str] = {}
    reason = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if not line.startswith(" "):
            reason = line.removesuffix(":")
            continue
        recording, index, path = line.split()
        place = (recording, int(index), path)
        if not reason or place in found:
            msg = f"line {number}: {'listed twice' if reason else 'no reason'}"
            raise ListError(msg)
        found[place] = reason
    return found


def known() -> dict[Place, str]:
    return read_listed(FILE.read_text(encoding="utf-8"))
