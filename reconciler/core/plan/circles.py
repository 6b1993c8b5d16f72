"""Circles of users who wait for each other, and the values to park to break them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from collections.abc import Mapping as MappingOf

from reconciler.core.model.ids import ClerkUserId

NOTHING: frozenset[str] = frozenset()
Edges = MappingOf[ClerkUserId, MappingOf[ClerkUserId, frozenset[str]]]


def break_circles(
    edges: Edges, can_park: Callable[[ClerkUserId, frozenset[str]], bool]
) -> tuple[dict[ClerkUserId, frozenset[str]], list[ClerkUserId]]:
    """The values that each user must park so that no circle is left; and a circle that can't be broken, if any."""
    core = _Core(edges)
    parks: dict[ClerkUserId, frozenset[str]] = {}
    for start in sorted(core.out):
        while start in core.out:
            circle = core.circle_from(start)
            pairs = sorted(zip(circle[1:] + circle[:1], circle, strict=True))
            for user, before in pairs:
                keys = parks.get(user, NOTHING) | edges[before][user]
                if can_park(user, keys):
                    parks[user] = keys
                    core.cut(before, user)
                    break
            else:
                return parks, circle
    return parks, []


class _Core:
    """The part of the wait graph that lies in or between circles."""

    def __init__(self, edges: Edges) -> None:
        self.out = {user: set(owners) for user, owners in edges.items()}
        self._into: defaultdict[ClerkUserId, set[ClerkUserId]] = defaultdict(set)
        for user, owners in edges.items():
            for owner in owners:
                self._into[owner].add(user)
        self._peel([*self.out, *(owner for owner in self._into if owner not in self.out)])

    def circle_from(self, start: ClerkUserId) -> list[ClerkUserId]:
        """A circle that is reachable from here, starting at its first user by id."""
        path: dict[ClerkUserId, None] = {}
        at = start
        while at not in path:
            path[at] = None
            at = min(self.out[at])
        users = list(path)
        circle = users[users.index(at) :]
        first = circle.index(min(circle))
        return circle[first:] + circle[:first]

    def cut(self, user: ClerkUserId, owner: ClerkUserId) -> None:
        self.out[user].discard(owner)
        self._into[owner].discard(user)
        self._peel([user, owner])

    def _peel(self, users: list[ClerkUserId]) -> None:
        left = list(users)
        while left:
            user = left.pop()
            out, into = self.out.get(user, set()), self._into[user]
            if out and into:
                continue
            self.out.pop(user, None)
            del self._into[user]
            for owner in out:
                self._into[owner].discard(user)
            for before in into:
                self.out[before].discard(user)
            left += [*out, *into]
