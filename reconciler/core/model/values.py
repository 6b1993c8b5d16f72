"""The value of a customer's field: sorted tags, text, or None for no value."""

from __future__ import annotations

Value = str | list[str] | None


def text_of(value: Value) -> str | None:
    """The value of a field other than tags."""
    assert not isinstance(value, list), "tags are no text"
    return value


def tags_of(value: Value) -> list[str]:
    """The value of tags; empty without a value."""
    assert not isinstance(value, str), "a text is no tags"
    return value or []
