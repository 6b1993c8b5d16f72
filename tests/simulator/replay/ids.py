"""Which id of the recorded store is which of the simulated one: bound one to one as they appear in replies."""

import re
from typing import Any, Final

GID: Final = re.compile(r"gid://shopify/(\w+)/([\w-]+)")
_NUMBER: Final = re.compile(r"\d{9,}")


class Ids:
    def __init__(self) -> None:
        self._to_simulated: dict[str, str] = {}
        self._to_recorded: dict[str, str] = {}
        self._numbers: dict[str, str] = {}
        self._marks: dict[str, str] = {}

    def __contains__(self, recorded: str) -> bool:
        return recorded in self._to_simulated

    def bind(self, recorded: str, simulated: str) -> bool:
        """Note that the two are one; False where either is bound to another already."""
        known = self._to_simulated.get(recorded), self._to_recorded.get(simulated)
        if known == (None, None):
            self._to_simulated[recorded] = simulated
            self._to_recorded[simulated] = recorded
            self._numbers[recorded.rpartition("/")[2]] = simulated.rpartition("/")[2]
            return True
        return known == (simulated, recorded)

    def bind_mark(self, recorded: str, simulated: str) -> None:
        """Note a cursor or digest, which is sent back as it came."""
        self._marks[recorded] = simulated

    def translate(self, value: Any) -> Any:
        """A value as recorded, with the simulated shop's ids in it, keys left alone."""
        if isinstance(value, dict):
            return {key: self.translate(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.translate(each) for each in value]
        if not isinstance(value, str):
            return value
        if value in self._marks:
            return self._marks[value]
        text = GID.sub(lambda found: self._to_simulated.get(found[0], found[0]), value)
        return _NUMBER.sub(lambda found: self._numbers.get(found[0], found[0]), text)


def ids_in(value: Any) -> list[str]:
    """Every gid in a value, in order."""
    if isinstance(value, dict):
        return [found for each in value.values() for found in ids_in(each)]
    if isinstance(value, list):
        return [found for each in value for found in ids_in(each)]
    return [found[0] for found in GID.finditer(value)] if isinstance(value, str) else []
