"""Bulk operations were recorded over products: the same over customers, in calls and replies alike."""

import re
from typing import Any, Final

_WORDS: Final = (
    (r"\bProductCreateInput\b", "CustomerInput"),
    (r"\bProductUpdateInput\b", "CustomerInput"),
    (r"\bproductCreate\((?:product|input): ", "customerCreate(input: "),
    (r"\bproductUpdate\((?:product|input): ", "customerUpdate(input: "),
    (r"\bproducts\b", "customers"),
    (r"\bproduct \{", "customer {"),
    (r"\bproduct\n", "customer\n"),
    (r"\bvariants\b", "addressesV2"),
    (r"\bmedia\b", "metafields"),
    (r"\btitle\b", "note"),
)
LONG: Final = 60_000


def as_customers(value: Any) -> Any:
    """A value with every bulk query and mutation in it about customers."""
    if isinstance(value, dict):
        return {name: as_customers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_customers(each) for each in value]
    if not isinstance(value, str) or not re.search(r"\bproducts?\b|\bproductCreate\b|\bProductCreateInput\b", value):
        return value
    if len(value) > LONG:
        return value  # about its length
    for pattern, word in _WORDS:
        value = re.sub(pattern, word, value)
    return value
