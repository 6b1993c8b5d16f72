"""Follow the settings files on disk: whether they differ from the running config, and what applying them would remove.

A file that an editor or a script is writing may be valid at every moment and incomplete: its last lines are missing. So a
change is applied when two successive checks saw the same content. A change that removes something, as a truncated file
does, must stay unchanged for longer. Files named by `${file:…}` are followed like the text that names them: a rotated
secret is a change.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from reconciler.core.model.frozen import frozen
from reconciler.errors import ConfigError
from reconciler.settings import FILE_MAX, Loaded, Settings, StoreSettings, files_named

TOKENS = ("console_token", "viewer_token", "nudge_token", "tokens")  # of `server`
FRESH_S = 2.0  # a file written less than this ago may be incomplete


@frozen
class OnDisk:
    """The digest of the files on disk, and since when (monotonic seconds) it is known."""

    digest: str
    since_s: float


class FollowedFiles:
    """Checks the files repeatedly. Not thread-safe: one thread checks."""

    def __init__(
        self, paths: Sequence[Path], *, running: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`running`: the digest of the running config, if it was read before."""
        self._paths = paths
        self._clock = clock
        self.running = running or digest_of(paths)
        self._seen = OnDisk(self.running, clock())

    def check(self) -> float:
        """Read the files; return for how many seconds their content has been the same, 0 if it is new."""
        digest, now = digest_of(self._paths), self._clock()
        if digest != self._seen.digest:
            self._seen = OnDisk(digest, now)
        return now - self._seen.since_s

    @property
    def differs(self) -> bool:
        """Whether the last check saw other content than that of the running config."""
        return self._seen.digest != self.running

    def is_unchanged(self) -> bool:
        """Return whether the content is still that of the last check, as it must be after reading."""
        return digest_of(self._paths) == self._seen.digest

    def mark_running(self) -> None:
        """Mark the content of the last check as the running config."""
        self.running = self._seen.digest


def digest_of(paths: Iterable[Path]) -> str:
    """Return a digest of the content of these files and of the files that they name by `${file:…}`, links followed.

    An unreadable file counts as content of its own.
    """
    found = hashlib.sha256()
    for path in paths:
        content = _content(path.read_bytes)
        parts = [content, *(_content(partial(_named_content, named)) for named in files_named(content))]
        for part in parts:
            found.update(f"{len(part)}:".encode() + part)
    return found.hexdigest()


def _content(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError as error:
        return f"unreadable: {error.strerror}".encode()


def _named_content(path: Path) -> bytes:
    """Return at most the length limit of a setting. A pipe can be read only once, so it counts as unchanged."""
    if path.exists() and not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(FILE_MAX + 1)


def settled_digest(paths: Sequence[Path], *, wait: Callable[[float], bool]) -> str:
    """Return the digest of these files once recently written ones have had it in two looks, FRESH_S apart.

    Computed before the files are read, it misses no later change. `wait` waits so many seconds, and is True if the process
    should end: then the last digest is returned, and nothing is read again.
    """
    before, found = "", digest_of(paths)
    while found != before and youngest_s(paths) < FRESH_S and not wait(FRESH_S):
        before, found = found, digest_of(paths)
    return found


def youngest_s(paths: Iterable[Path]) -> float:
    """Return the seconds since one of these files was written; infinite if none exists. By the file system's clock."""
    written_at = -math.inf
    for path in paths:
        with suppress(OSError):
            written_at = max(written_at, path.stat().st_mtime)
    return time.time() - written_at  # noqa: TID251  the file system's clock, not the controller's


def without_restart(running: Settings, read: Loaded) -> Loaded:
    """Return the part of these files that needs no restart: the stores, the server's tokens, and Clerk's secrets if there
    were some before.

    ConfigError if the stores depend on settings that need a restart.
    """
    ours, theirs = running.profiles, read.settings.profiles
    if (ours.columns, ours.trust_email) != (theirs.columns, theirs.trust_email):
        raise needs_restart()
    tokens = {name: getattr(read.settings.server, name) for name in TOKENS}
    changes: dict[str, object] = {"server": running.server.model_copy(update=tokens)}
    secrets = read.settings.clerk.webhook_secrets
    if running.clerk.webhook_secrets and secrets:
        changes["clerk"] = running.clerk.model_copy(update={"webhook_secrets": secrets})
    return Loaded(running.model_copy(update=changes), read.stores, read.rollout)


def needs_restart() -> ConfigError:
    """Return the error for settings that need a restart."""
    return ConfigError(
        "reconciler.yaml, or a file that it names, has changed, which needs a restart",
        hint="restart `reconciler run`; stores.yaml, clerk.webhook_secrets and the server's tokens need no restart",
    )


def removals(before: Iterable[StoreSettings], after: Iterable[StoreSettings]) -> dict[str, list[str]]:
    """Return by store what the new settings no longer have: the store, lines of its `where`, or keys.

    A truncated file removes such things: a store without its `where` wants all users.
    """
    now = {store.name: store for store in after}
    found: dict[str, list[str]] = {}
    for store in before:
        other = now.get(store.name)
        if other is None:
            found[store.name] = ["store"]
            continue
        lost = [f"where.{key}" for key in sorted(store.where.keys() - other.where.keys())]
        lost += sorted(store.model_fields_set - other.model_fields_set - {"where"})
        if lost:
            found[store.name] = lost
    return found


def listed(removed: Mapping[str, Sequence[str]]) -> str:
    """`acme-us: where.locale, tags; acme-eu: store`."""
    return "; ".join(f"{name}: {', '.join(keys)}" for name, keys in sorted(removed.items()))
