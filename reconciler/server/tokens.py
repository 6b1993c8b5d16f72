"""AccessTokens of the HTTP server, each with a name and a role. They follow the settings files."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import field
from typing import Literal

from reconciler.core.model.frozen import frozen

Role = Literal["viewer", "operator", "nudge"]


@frozen
class AccessToken:
    """A token. viewer: reads the console and the API; operator: also acts; nudge: may only enqueue users."""

    name: str
    role: Role
    secret: bytes = field(repr=False)


class AccessTokens:
    """The tokens that are valid now. Thread-safe: they are replaced as a whole."""

    def __init__(self, tokens: Iterable[AccessToken] = ()) -> None:
        self._now = tuple(tokens)

    def follow(self, tokens: Iterable[AccessToken]) -> None:
        """Use these tokens from now on. Sessions of tokens that are gone or have another secret are no longer valid."""
        self._now = tuple(tokens)

    def has_any(self, *roles: Role) -> bool:
        """Return whether there is a token with one of these roles."""
        return any(token.role in roles for token in self._now)

    def find(self, given: str) -> AccessToken | None:
        """Return the token with this text. Each is compared, in constant time."""
        text, found = given.encode("utf-8", "surrogatepass"), None
        for token in self._now:
            if hmac.compare_digest(text, token.secret):
                found = token
        return found

    def named(self, name: str) -> AccessToken | None:
        """Return the token with this name."""
        return next((token for token in self._now if token.name == name), None)
