"""The types of metafields, in the order of Shopify's error message.

Live replies of the Admin API, read 2026-11-29.
"""

from typing import Final

MEASURES: Final = frozenset(
    {
        "antenna_gain", "area", "battery_charge_capacity", "battery_energy_capacity", "capacitance", "concentration",
        "data_storage_capacity", "data_transfer_rate", "dimension", "display_density", "distance", "duration",
        "electric_current", "electrical_resistance", "energy", "frequency", "illuminance", "inductance",
        "luminous_flux", "mass_flow_rate", "power", "pressure", "resolution", "rotational_speed", "sound_level",
        "speed", "temperature", "thermal_power", "voltage", "volume", "volumetric_flow_rate", "weight",
    }
)  # fmt: skip
"""A number with a unit."""
_FIRST: Final = (
    "antenna_gain", "area", "battery_charge_capacity", "battery_energy_capacity", "boolean", "capacitance", "color",
    "concentration", "data_storage_capacity", "data_transfer_rate", "date_time", "date", "dimension",
    "display_density", "distance", "duration", "electric_current", "electrical_resistance", "energy", "float",
    "frequency", "id", "illuminance", "inductance", "integer", "json_string", "json", "jurisdiction", "language",
    "link",
)  # fmt: skip
_LAST: Final = (
    "luminous_flux", "mass_flow_rate", "money", "multi_line_text_field", "number_decimal", "number_integer", "power",
    "pressure", "rating", "resolution", "rich_text_field", "rotational_speed", "single_line_text_field",
    "sound_level", "speed", "string", "temperature", "thermal_power", "url", "voltage", "volume",
    "volumetric_flow_rate", "weight",
)  # fmt: skip
_NEVER_LISTS: Final = frozenset(
    {"float", "id", "integer", "json_string", "json", "language", "money", "rich_text_field", "string"}
)
_REFERENCES: Final = (
    "company_reference", "list.company_reference", "customer_reference", "list.customer_reference",
    "product_reference", "list.product_reference", "collection_reference", "list.collection_reference",
    "variant_reference", "list.variant_reference", "file_reference", "list.file_reference",
    "product_taxonomy_value_reference", "list.product_taxonomy_value_reference",
    "product_taxonomy_disclosure_reference", "metaobject_reference", "list.metaobject_reference", "mixed_reference",
    "list.mixed_reference", "disclosure_reference", "list.disclosure_reference", "page_reference",
    "list.page_reference", "article_reference", "list.article_reference", "order_reference", "list.order_reference",
)  # fmt: skip
SET_TYPES: Final[tuple[str, ...]] = (
    *_FIRST,
    *(f"list.{name}" for name in (*_FIRST, *_LAST) if name not in _NEVER_LISTS),
    *_LAST,
    *_REFERENCES,
)
"""The types that metafieldsSet accepts."""
_UNDEFINED: Final = frozenset(
    {"float", "integer", "json_string", "string", "list.boolean", "list.multi_line_text_field"}
)
DEFINITION_TYPES: Final[tuple[str, ...]] = tuple(name for name in SET_TYPES if name not in _UNDEFINED)
"""The types that a definition may have."""
OLD_NAMES: Final = {"float": "number_decimal", "integer": "number_integer", "json_string": "json"}
OLD_TEXT: Final = "string"
"""Old type names, with the types that replace them."""


def category(type_name: str) -> str:
    """MetafieldDefinitionType.category."""
    plain = type_name.removeprefix("list.")
    if plain.endswith("_reference"):
        return "REFERENCE"
    if plain in MEASURES:
        return "MEASUREMENT"
    for prefix, name in (("number", "NUMBER"), ("date", "DATE_TIME"), ("json", "CUSTOM"), ("url", "URL")):
        if plain.startswith(prefix):
            return name
    known = {"boolean": "TRUE_FALSE", "id": "ID", "color": "COLOR", "rating": "RATING", "money": "MONEY"}
    return known.get(plain, "TEXT")
