"""The queue's SQL statements: one text for both databases, with placeholders for the parts that differ.

Lists of requests are one JSON parameter, so a statement is one round trip and one plan for any number of rows. Rows
are always locked in key order, so that two statements over many rows never deadlock. Each statement is independent:
no temporary table, no session setting, no lock that outlives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import BigInteger, Boolean, Integer, String, TextClause, bindparam, column, text
from sqlalchemy.sql.selectable import TextualSelect

from reconciler.core.model.request import DELETED, Priority
from reconciler.state.tables.mappings import UtcDateTime

# An add merges with the existing row. A resync never ends a backoff: the request has its turn already.
_IN_BACKOFF = "(excluded.priority = {resync} AND r.owner IS NULL AND r.attempts > 0 AND r.due_at > :now)"
# A delayed add is kept beside what is due, until a reconcile begins after its time; of several, the earliest.
_DELAYS = (
    "(excluded.due_at > :now AND (r.delayed_at IS NULL OR r.delayed_at <= :now OR r.delayed_at > excluded.due_at))"
)
# An add that changes nothing writes nothing: a resync over a waiting queue leaves no dead rows.
_CHANGES = """({delays} OR r.rank_at > excluded.rank_at
   OR (r.owner IS NOT NULL AND r.again_at IS NULL AND excluded.due_at <= :now)
   OR (r.owner IS NULL AND (r.due_at > excluded.due_at OR r.priority > excluded.priority))
   OR excluded.explicit_generation > 0 OR (excluded.reason = '{kept}' AND r.reason <> '{kept}')
   OR (excluded.wants_updated_at IS NOT NULL
       AND (r.wants_updated_at IS NULL OR r.wants_updated_at < excluded.wants_updated_at)))"""

_ADD = """
INSERT INTO {request} AS r (clerk_user_id, store, priority, due_at, rank_at, attempts, generation, seen,
                            explicit_generation, wants_updated_at, fencing, reason, delayed_at)
SELECT value->>1, value->>0, :priority, :due_at, {rank}, 0, 1, 0, :explicit, :wants, 0, :reason, :delayed_at
  FROM {requests} WHERE true
ON CONFLICT (clerk_user_id, store) DO UPDATE SET
  generation = r.generation + 1,
  explicit_generation = CASE WHEN excluded.explicit_generation > 0 THEN r.generation + 1
                             ELSE r.explicit_generation END,
  wants_updated_at = {greatest}(coalesce(r.wants_updated_at, excluded.wants_updated_at),
                                coalesce(excluded.wants_updated_at, r.wants_updated_at)),
  reason = CASE WHEN r.reason = '{kept}' THEN r.reason
                WHEN excluded.priority <= r.priority OR r.owner IS NOT NULL THEN excluded.reason
                ELSE r.reason END,
  again_at = CASE WHEN r.owner IS NULL OR r.again_at IS NOT NULL THEN r.again_at
                  WHEN excluded.due_at <= :now THEN excluded.due_at
                  WHEN r.delayed_at <= :now THEN r.delayed_at ELSE r.again_at END,
  delayed_at = CASE WHEN {delays} THEN excluded.due_at ELSE r.delayed_at END,
  due_at = CASE WHEN r.owner IS NULL THEN {least}(r.due_at, excluded.due_at) ELSE r.due_at END,
  priority = CASE WHEN r.owner IS NOT NULL OR (excluded.due_at > :now AND r.due_at < excluded.due_at) THEN r.priority
                  WHEN r.due_at > :now THEN excluded.priority ELSE {least}(r.priority, excluded.priority) END,
  rank_at = {least}(r.rank_at, excluded.rank_at)
WHERE NOT {in_backoff} AND {changes}
"""

# A claim considers all lanes (a store's nudges, retries, resyncs). It takes those with the oldest first request, their
# front by the index, what the caps leave capacity for, then the oldest. It reads twice as many as wanted, since another
# replica may be taking some of them: locked rows are skipped. `:horizon` bounds a lane: a due request ranks at most its
# lane's head start ahead, so keys in backoff behind it are never read.
_LANE = """FROM {request} r WHERE r.store = {of}.store AND r.priority = {of}.priority
  AND r.rank_at <= {of}.horizon AND r.due_at <= :now AND {free} ORDER BY r.rank_at"""

# A lease that ends later than any holder may set was written by a clock that was ahead, and protects nothing.
_FREE = "(r.owner IS NULL OR r.lease_until <= :now OR r.lease_until > :lease_max)"

# NOT INDEXED (on SQLite): by the row numbers found, whatever old statistics say. An owner's claims count against the caps
# while their leases hold. An outage can leave claims that their owner does not know of: the answer was lost, or a worker
# gave up.
_FRONT = """
space AS (SELECT value->>0 AS store, CAST(value->>1 AS integer)
              - (SELECT count(*) FROM {request} b WHERE b.owner = :owner AND b.store = value->>0
                  AND b.lease_until > :now AND b.lease_until <= :lease_max) AS space
           FROM {stores}),
lane AS (SELECT store, space, priority, horizon FROM space CROSS JOIN
         (SELECT 0 AS priority, :nudge_horizon AS horizon UNION ALL SELECT 1, :retry_horizon
          UNION ALL SELECT 2, :resync_horizon) bound
         WHERE space > 0),
head AS MATERIALIZED (SELECT * FROM (SELECT lane.*, (SELECT r.rank_at {lane} LIMIT 1) AS first FROM lane) every
         WHERE first IS NOT NULL ORDER BY first LIMIT :ask),
front AS (SELECT {front_row}, head.space FROM head CROSS JOIN {front_rows}),
oldest AS MATERIALIZED (SELECT store, clerk_user_id, rank_at, space FROM
           (SELECT front.*, row_number() OVER (PARTITION BY store ORDER BY rank_at) AS place FROM front) placed
           WHERE place <= 2 * space ORDER BY rank_at LIMIT :ask),
{locked}
picked AS (SELECT store, clerk_user_id, rank_at AS turn FROM
           (SELECT {found}.*, row_number() OVER (PARTITION BY store ORDER BY rank_at, clerk_user_id) AS place
              FROM {found}) placed
            WHERE place <= space ORDER BY rank_at, store, clerk_user_id LIMIT :limit)
"""

_LOCKED = """
locked AS (SELECT r.store, r.clerk_user_id, oldest.rank_at, oldest.space
             FROM oldest JOIN {request} r ON r.clerk_user_id = oldest.clerk_user_id AND r.store = oldest.store
            WHERE r.due_at <= :now AND {free} ORDER BY oldest.rank_at FOR UPDATE OF r SKIP LOCKED),
"""

# A reconcile of an ended owner counts as failed: a request that kills its process must not repeat at full speed.
_TAKE = """
UPDATE {request} AS r
   SET owner = :owner, lease_until = :until, fencing = {fencing}, rank_at = {least}(r.rank_at, :now),
       attempts = r.attempts + CASE WHEN r.owner IS NULL THEN 0 ELSE 1 END,
       again_at = NULL, delayed_at = CASE WHEN r.delayed_at <= :now THEN NULL ELSE r.delayed_at END
  FROM {source}
 WHERE r.clerk_user_id = {source_user} AND r.store = {source_store} AND {free}
RETURNING {r}store, {r}clerk_user_id, {r}fencing, {r}priority, {r}generation, {r}attempts, {r}reason, {r}due_at,
          {r}wants_updated_at, {r}explicit_generation > {r}seen AS explicit, {turn} AS turn
"""

# When a further reconcile is owed; null if none is.
_OWED_AT = "{least}(coalesce(again_at, delayed_at), coalesce(delayed_at, again_at))"

# `lease_until` instead of `owner`, and one lookup a claim: so Postgres uses the key whatever its statistics are, and never
# reads all rows in progress. (A LIMIT 1 would make it scan a table without statistics.) The claims come in key order.
_HELD = """
WITH held AS (SELECT {claims_row}, CAST(value->>3 AS bigint) AS generation FROM {claims} {claims_join})"""
_HELD_WHERE = """r.clerk_user_id = value->>1 AND r.store = value->>0 AND r.fencing = CAST(value->>2 AS bigint)
   AND r.lease_until IS NOT NULL"""

_MINE = "clerk_user_id = :user AND store = :store AND fencing = :fencing AND lease_until IS NOT NULL"

# CASE, since Postgres estimates `IS NULL` of columns without statistics as rare, and would begin with the whole table.
_GONE = """
DELETE FROM {request} WHERE (clerk_user_id, store) IN (SELECT clerk_user_id, store FROM held)
  AND CASE WHEN again_at IS NULL THEN delayed_at IS NULL ELSE false END
RETURNING store, clerk_user_id, fencing
"""

_AGAIN = """
UPDATE {request} AS r
   SET owner = NULL, lease_until = NULL, attempts = 0, seen = held.generation, again_at = NULL, priority = 0,
       due_at = coalesce({owed_at}, :now), rank_at = coalesce({owed_at}, :now)
  FROM held WHERE r.clerk_user_id = held.clerk_user_id AND r.store = held.store
RETURNING {r}store, {r}clerk_user_id, {r}fencing
"""

_PUT_OFF = """
UPDATE {request}
   SET owner = NULL, lease_until = NULL, attempts = CASE WHEN :failed THEN attempts + 1 ELSE 0 END, priority = 1,
       reason = CASE WHEN reason = '{kept}' THEN reason ELSE :reason END,
       due_at = {least}(:due_at, coalesce({owed_at}, :due_at)),
       rank_at = {least}(:rank_at, coalesce({owed_at}, :rank_at)), again_at = NULL
 WHERE {mine}
"""

_HAND_BACK = """
UPDATE {request} SET owner = NULL, lease_until = NULL, again_at = NULL
 WHERE (clerk_user_id, store) IN (SELECT clerk_user_id, store FROM held)
"""

_RENEW = """
UPDATE {request} SET lease_until = :until
 WHERE (clerk_user_id, store) IN (SELECT clerk_user_id, store FROM held)
RETURNING store, clerk_user_id, fencing
"""

_OLDEST = """
WITH lane AS (SELECT 0 AS priority UNION ALL SELECT 1 UNION ALL SELECT 2)
SELECT (SELECT r.due_at FROM {request} r WHERE r.store = value AND r.priority = lane.priority
         ORDER BY r.rank_at LIMIT 1) AS due_at FROM {names} CROSS JOIN lane
"""

_TALLY = """
SELECT store, count(*) AS total, sum(CASE WHEN owner IS NOT NULL THEN 1 ELSE 0 END) AS in_flight,
       sum(CASE WHEN owner IS NULL AND due_at > :now THEN 1 ELSE 0 END) AS delayed,
       sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END) AS failing
  FROM {request} GROUP BY store
"""

_CLAIM_COLUMNS = (
    column("store", String()),
    column("clerk_user_id", String()),
    column("fencing", BigInteger()),
    column("priority", Integer()),
    column("generation", BigInteger()),
    column("attempts", Integer()),
    column("reason", String()),
    column("due_at", UtcDateTime()),
    column("wants_updated_at", UtcDateTime()),
    column("explicit", Boolean()),
    column("turn", UtcDateTime()),
)
_TIMES = (
    "now",
    "until",
    "lease_max",
    "due_at",
    "delayed_at",
    "rank_at",
    "wants",
    "nudge_horizon",
    "retry_horizon",
    "resync_horizon",
)


class Statements:
    """The statements for one database. On Postgres `take` is a whole claim; on SQLite it takes the rows of `picked`."""

    def __init__(self, *, sqlite: bool) -> None:
        self._words = _words(sqlite=sqlite)
        self._sqlite = sqlite
        self.add = self._text(_ADD)
        self.picked = self._text(
            "WITH {picking} SELECT store, clerk_user_id FROM picked ORDER BY turn, store, clerk_user_id"
        )
        self.take: TextualSelect = self._text(_TAKE if sqlite else "WITH {picking} " + _TAKE).columns(*_CLAIM_COLUMNS)
        self.gone = self._text(_HELD + _GONE)
        self.again = self._text(_HELD + _AGAIN)
        self.put_off = self._text(_PUT_OFF)
        self.hand_back = self._text(_HELD + _HAND_BACK)
        self.in_hand = self._text(
            "SELECT store, clerk_user_id, fencing, attempts, reason, owner FROM {request} WHERE owner IS NOT NULL"
        )
        self.owners = self._text("SELECT DISTINCT owner FROM {request} WHERE owner IS NOT NULL")
        self.renew = self._text(_HELD + _RENEW)
        self.mine = self._text("SELECT 1 FROM {request} WHERE {mine}")
        self.hold = self._text("SELECT 1 FROM {request} WHERE {mine} {share}")
        self.oldest: TextualSelect = self._text(_OLDEST).columns(column("due_at", UtcDateTime()))
        self.tally = self._text(_TALLY)
        self.depth = self._text("SELECT count(*) FROM {request}")
        self.depth_of = self._text("SELECT count(*) FROM {request} WHERE priority IN (0, 1, 2) AND store = :store")
        self.forget = self._text("DELETE FROM {request} WHERE store = :store")
        self.next_number = self._text("INSERT INTO {fencing_table} DEFAULT VALUES RETURNING id")
        self.spent_number = self._text("DELETE FROM {fencing_table}")

    def stamp(self, moment: datetime) -> str:
        """Return a time for a JSON parameter, as this database compares it (SQLite: as SQLAlchemy stores it)."""
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f" if self._sqlite else "%Y-%m-%dT%H:%M:%S.%f+00:00")

    def _text(self, template: str) -> TextClause:
        filled = template
        while "{" in filled:  # placeholders hold placeholders
            filled = filled.format_map(self._words)
        made = text(filled)
        return made.bindparams(*(bindparam(name, type_=UtcDateTime()) for name in _TIMES if f":{name}" in filled))


def _words(*, sqlite: bool) -> Mapping[str, str]:
    common = {
        "in_backoff": _IN_BACKOFF,
        "delays": _DELAYS,
        "owed_at": _OWED_AT,
        "held_where": _HELD_WHERE,
        "changes": _CHANGES,
        "free": _FREE,
        "lane": _LANE.replace("{of}", "lane"),
        "front_lane": _LANE.replace("{of}", "head"),
        "picking": _FRONT,
        "mine": _MINE,
        "resync": str(int(Priority.RESYNC)),
        "kept": DELETED,
    }
    if sqlite:
        return common | {
            "request": "reconciler_request",
            "fencing_table": "reconciler_fencing",
            "requests": "json_each(:requests)",
            "stores": "json_each(:stores)",
            "claims": "json_each(:claims)",
            "names": "(SELECT value FROM json_each(:names))",
            "rank": "value->>2",
            "front_row": "r.store, r.clerk_user_id, r.rank_at",
            "front_rows": "{request} r NOT INDEXED ON r.rowid IN (SELECT r.rowid {front_lane} LIMIT :ask)",
            "locked": "",
            "found": "oldest",
            "least": "min",
            "greatest": "max",
            "claims_row": "r.clerk_user_id, r.store",
            "claims_join": "JOIN {request} r ON {held_where}",
            "share": "",  # a writing transaction begins IMMEDIATE: no other writes until it ends
            "r": "",
            "turn": "rank_at",  # the order of the picked keys
            "fencing": ":fencing",
            "source": "json_each(:picked)",
            "source_user": "value->>1",
            "source_store": "value->>0",
        }
    return common | {
        "request": "reconciler.reconciler_request",
        "fencing_table": "reconciler.reconciler_fencing",
        "requests": "json_array_elements(CAST(:requests AS json)) AS j(value)",
        "stores": "json_array_elements(CAST(:stores AS json)) AS j(value)",
        "claims": "json_array_elements(CAST(:claims AS json)) AS j(value)",
        "names": "json_array_elements_text(CAST(:names AS json)) AS j(value)",
        "rank": "CAST(value->>2 AS timestamptz)",
        "front_row": "f.store, f.clerk_user_id, f.rank_at",
        "front_rows": "LATERAL (SELECT r.store, r.clerk_user_id, r.rank_at {front_lane} LIMIT :ask) f",
        "locked": _LOCKED,
        "found": "locked",
        "least": "least",
        "greatest": "greatest",
        "claims_row": "h.clerk_user_id, h.store",
        "claims_join": "CROSS JOIN LATERAL (SELECT r.clerk_user_id, r.store FROM {request} r WHERE {held_where}"
        " FOR UPDATE OF r) h",
        "share": "FOR SHARE",
        "r": "r.",
        "turn": "picked.turn",
        "fencing": "nextval('reconciler.reconciler_fencing_id_seq')",
        "source": "picked",
        "source_user": "picked.clerk_user_id",
        "source_store": "picked.store",
    }
