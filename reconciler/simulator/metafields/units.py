"""The units of measurement metafields, as stored and as returned."""

import re
from typing import Any, Final

UNITS: Final = {
    "dimension": {
        "in": "INCHES", "ft": "FEET", "yd": "YARDS", "mm": "MILLIMETERS", "cm": "CENTIMETERS", "m": "METERS",
    },
    "volume": {
        "ml": "MILLILITERS", "cl": "CENTILITERS", "l": "LITERS", "m3": "CUBIC_METERS", "us_fl_oz": "FLUID_OUNCES",
        "us_pt": "PINTS", "us_qt": "QUARTS", "us_gal": "GALLONS", "imp_fl_oz": "IMPERIAL_FLUID_OUNCES",
        "imp_pt": "IMPERIAL_PINTS", "imp_qt": "IMPERIAL_QUARTS", "imp_gal": "IMPERIAL_GALLONS",
    },
    "weight": {"oz": "OUNCES", "lb": "POUNDS", "g": "GRAMS", "kg": "KILOGRAMS"},
}  # fmt: skip
"""The units of the three oldest measurements: short and long name. The others accept any word."""
BELOW_ZERO: Final = frozenset({"temperature", "sound_level", "antenna_gain"})
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def long_unit(name: str, unit: str) -> str | None:
    """The stored unit, or None if it is not one of this measurement."""
    if name not in UNITS:
        return unit.upper() if _WORD.fullmatch(unit) else None
    known = UNITS[name]
    return known.get(unit.lower()) or (unit.upper() if unit.upper() in known.values() else None)


def shown_measure(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The unit in a list: its short name, or in lower case."""
    short = {long: each for each, long in UNITS.get(name, {}).items()}
    return {"value": whole(given["value"]), "unit": short.get(given["unit"], given["unit"].lower())}


def whole(number: float) -> float:
    return int(number) if number == int(number) else number
