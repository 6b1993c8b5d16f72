"""The recordings of real stores, where they are at hand beside the project: read, never written."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]
FOLDER: Final = Path(__file__).parents[4] / "shared" / "recordings"
FILES: Final = ("customers", "metafields", "bulk")


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was sent, and the reply that a real store gave."""

    query: str
    variables: Json
    status: int
    reply: Json


@dataclass(frozen=True, slots=True)
class Recording:
    """Calls to one store, in the order in which they were sent."""

    name: str
    calls: tuple[Call, ...]

    @property
    def area(self) -> str:
        """The part of the name between version and title."""
        return self.name.split("/")[1]


def are_at_hand() -> bool:
    return all((FOLDER / f"{name}.json.gz").exists() for name in FILES)


def read_recordings() -> Iterator[Recording]:
    for name in FILES:
        with gzip.open(FOLDER / f"{name}.json.gz", "rt", encoding="utf-8") as file:
            for each in json.load(file):
                calls = tuple(
                    Call(call["query"], call["variables"] or {}, call["status"], call["reply"])
                    for call in each["calls"]
                )
                yield Recording(each["recording"], calls)
