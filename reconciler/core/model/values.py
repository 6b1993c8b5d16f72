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


def tag_changes(before: Value, after: Value) -> tuple[list[str], list[str]]:
    """The tags that come and those that go, without those of which only the case differs."""
    was, now = ({tag.casefold(): tag for tag in tags_of(value)} for value in (before, after))
    return [now[tag] for tag in now if tag not in was], [was[tag] for tag in was if tag not in now]
