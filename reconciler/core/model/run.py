"""Run: one execution of a command or of a scheduled scan, with its counts and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Final, Literal, get_args

from reconciler.core.model.act import Actor
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName

RunKind = Literal["apply", "import", "undo", "resync", "full_resync", "backfill_shopify", "backfill_clerk"]
RUN_KINDS: Final[tuple[RunKind, ...]] = get_args(RunKind)
NOTABLE_KINDS: Final = tuple(kind for kind in RUN_KINDS if kind != "resync")
"""Without incremental resyncs, of which each store has about a hundred a day."""
RunEnd = Literal["done", "failed", "stopped"]
RunOutcome = Literal["running", "interrupted", "done", "failed", "stopped"]


@frozen
class RunCounts:
    """What a run came to: users looked at, actions by kind, requests queued, holds and failures.

    The actions of an `apply` were executed; those of a full resync were found, and queued unless a guard held them.
    """

    users: int = 0
    actions: Mapping[str, int] = field(default_factory=dict)
    queued: int = 0
    holds: int = 0
    failures: int = 0


@frozen
class NewRun:
    """A run that begins. `owner` names its process, so that a run that lost its process can be recognised."""

    kind: RunKind
    stores: tuple[StoreName, ...]
    actor: Actor
    owner: str
    plan_digest: str = ""


@frozen
class Run:
    """A run in the state. `outcome` is `interrupted` where its process has ended and recorded no end."""

    id: int
    kind: RunKind
    stores: tuple[StoreName, ...]
    actor: Actor
    began_at: datetime
    ended_at: datetime | None
    outcome: RunOutcome
    counts: RunCounts
    plan_digest: str = ""
    message: str = ""
