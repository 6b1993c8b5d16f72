"""Whether the files on disk are those that run: taken only when they have settled, and what taking them would remove.

A file that an editor or a script is writing may be valid at every moment and complete at none: its last lines are missing.
So a change is taken when the content was the same over two looks; one that takes something away, as a file that is cut
short would, only when it has not moved for longer. The files that are named by `${file:…}` are followed like the text
that names them: a rotated secret is a change.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reconciler.errors import ConfigError
from reconciler.settings import FILE_MAX, Loaded, Settings, StoreSettings, files_named

FRESH_S = 2.0  # a file that was written less than this ago may not be whole yet


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What is on disk, by its digest, and since when (monotonic seconds) it was seen to be that."""

    digest: str
    since_s: float


class FollowedFiles:
    """Looks at the files again and again. Not thread-safe: one thread looks."""

    def __init__(
        self, paths: Sequence[Path], *, running: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`running`: the digest of what runs, where it was read some time ago."""
        self._paths = paths
        self._clock = clock
        self.running = running or digest_of(paths)
        self._seen = OnDisk(self.running, clock())

    def look(self) -> float:
        """For how many seconds the content has been what it is now; 0 where it is new at this look."""
        digest, now = digest_of(self._paths), self._clock()
        if digest != self._seen.digest:
            self._seen = OnDisk(digest, now)
        return now - self._seen.since_s

    @property
    def differs(self) -> bool:
        """Whether the last look saw something else than what runs."""
        return self._seen.digest != self.running

    def is_still_seen(self) -> bool:
        """Whether the content is that of the last look now, as it must be after it was read."""
        return digest_of(self._paths) == self._seen.digest

    def take(self) -> None:
        """What the last look saw runs from now on."""
        self.running = self._seen.digest


def digest_of(paths: Iterable[Path]) -> str:
    """Of the content of these files and of those that they name by `${file:…}`, links followed.

    A file that can't be read counts as one of its own.
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
    """As much as a setting may be long. A pipe can be read only once, so it counts as unchanged."""
    if path.exists() and not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(FILE_MAX + 1)


def wait_until_settled(paths: Sequence[Path], *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Return once files that were written just now have the same content over two looks, FRESH_S apart."""
    while youngest_s(paths) < FRESH_S:
        before = digest_of(paths)
        sleep(FRESH_S)
        if digest_of(paths) == before:
            return


def youngest_s(paths: Iterable[Path]) -> float:
    """Seconds since one of these files was written; infinite where none is there. By the file system's clock."""
    written_at = -math.inf
    for path in paths:
        with suppress(OSError):
            written_at = max(written_at, path.stat().st_mtime)
    return time.time() - written_at  # noqa: TID251  the file system's clock, not the controller's


def without_restart(running: Settings, read: Loaded) -> Loaded:
    """What of these files can be taken while this runs: the stores, and Clerk's secrets where there were some before.

    ConfigError where the stores were read by settings that only a restart takes.
    """
    ours, theirs = running.profiles, read.settings.profiles
    if (ours.columns, ours.trust_email) != (theirs.columns, theirs.trust_email):
        raise needs_restart()
    secrets = read.settings.clerk.webhook_secrets
    if not (running.clerk.webhook_secrets and secrets):
        return Loaded(running, read.stores)
    clerk = running.clerk.model_copy(update={"webhook_secrets": secrets})
    return Loaded(running.model_copy(update={"clerk": clerk}), read.stores)


def needs_restart() -> ConfigError:
    """The error that says so."""
    return ConfigError(
        "reconciler.yaml, or a file that it names, has changed: it is taken by a restart only",
        hint="restart; stores.yaml and clerk.webhook_secrets are taken without one",
    )


def removals(before: Iterable[StoreSettings], after: Iterable[StoreSettings]) -> dict[str, list[str]]:
    """By store what these settings no longer say: the store itself, lines of its `where`, or keys that were set.

    What a file that is cut short loses is of this kind: a store without its `where` wants everybody.
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
