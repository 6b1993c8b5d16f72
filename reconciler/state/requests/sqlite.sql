-- The queue's statements for SQLite; postgres.sql has the same for Postgres.
-- statements.py reads them by their names.
--
-- Lists of requests are one JSON parameter, so a statement is one round trip and one plan for any number of rows. Rows
-- are always locked in key order, so that two statements over many rows never deadlock. Each statement is independent:
-- no temporary table, no session setting, no lock that outlives it.
--
-- priority: 0 nudge, 1 retry, 2 resync (core/model/request.py). The reason 'user.deleted' is kept until the request is
-- done.

-- name: add
-- An add merges with the existing row. A resync never ends a backoff: the request has its turn already. A delayed add
-- is kept beside what is due, until a reconcile begins after its time; of several, the earliest. An add that changes
-- nothing writes nothing: a resync over a waiting queue leaves no dead rows.
-- A request in progress was due when it was claimed. If it is due later than now, its times are those of a clock that
-- was ahead, and the add moves them.
INSERT INTO reconciler_request AS r
       (clerk_user_id, store, priority, due_at, rank_at, attempts, generation, seen,
        explicit_generation, wants_updated_at, fencing, reason, delayed_at)
SELECT value->>1, value->>0, :priority, :due_at, value->>2, 0, 1, 0,
       :explicit, :wants, 0, :reason, :delayed_at
  FROM json_each(:requests) WHERE true
ON CONFLICT (clerk_user_id, store) DO UPDATE SET
  generation = r.generation + 1,
  explicit_generation = CASE WHEN excluded.explicit_generation > 0 THEN r.generation + 1
                             ELSE r.explicit_generation END,
  wants_updated_at = max(coalesce(r.wants_updated_at, excluded.wants_updated_at),
                         coalesce(excluded.wants_updated_at, r.wants_updated_at)),
  reason = CASE WHEN r.reason = 'user.deleted' THEN r.reason
                WHEN excluded.priority <= r.priority OR r.owner IS NOT NULL THEN excluded.reason
                ELSE r.reason END,
  again_at = CASE WHEN r.owner IS NULL OR r.again_at IS NOT NULL THEN r.again_at
                  WHEN excluded.due_at <= :now THEN excluded.due_at
                  WHEN r.delayed_at <= :now THEN r.delayed_at ELSE r.again_at END,
  delayed_at = CASE WHEN (excluded.due_at > :now
                          AND (r.delayed_at IS NULL OR r.delayed_at <= :now OR r.delayed_at > excluded.due_at))
                    THEN excluded.due_at ELSE r.delayed_at END,
  due_at = CASE WHEN r.owner IS NULL OR r.due_at > :now THEN min(r.due_at, excluded.due_at) ELSE r.due_at END,
  priority = CASE WHEN r.owner IS NOT NULL OR (excluded.due_at > :now AND r.due_at < excluded.due_at) THEN r.priority
                  WHEN r.due_at > :now THEN excluded.priority ELSE min(r.priority, excluded.priority) END,
  rank_at = min(r.rank_at, excluded.rank_at)
WHERE NOT (excluded.priority = 2 AND r.owner IS NULL AND r.attempts > 0 AND r.due_at > :now)
  AND ((excluded.due_at > :now
        AND (r.delayed_at IS NULL OR r.delayed_at <= :now OR r.delayed_at > excluded.due_at))
    OR r.rank_at > excluded.rank_at
    OR (r.owner IS NOT NULL AND r.again_at IS NULL AND excluded.due_at <= :now)
    OR (r.owner IS NULL AND (r.due_at > excluded.due_at OR r.priority > excluded.priority))
    OR excluded.explicit_generation > 0
    OR (excluded.reason = 'user.deleted' AND r.reason <> 'user.deleted')
    OR (excluded.wants_updated_at IS NOT NULL
        AND (r.wants_updated_at IS NULL OR r.wants_updated_at < excluded.wants_updated_at)))

-- name: picked
-- A claim considers all lanes (a store's nudges, retries, resyncs). It takes those with the oldest first request, their
-- front by the index, what the caps leave capacity for, then the oldest. It reads twice as many as wanted, since
-- another replica may be taking some of them: locked rows are skipped. `horizon` bounds a lane: a due request ranks at
-- most its lane's head start ahead, so keys in backoff behind it are never read. An owner's claims count against the
-- caps while their leases hold. An outage can leave claims that their owner does not know of: the answer was lost, or a
-- worker gave up. A lease that ends later than any holder may set was written by a clock that was ahead, and protects
-- nothing. NOT INDEXED: by the row numbers found, whatever old statistics say.
WITH
capacity AS (
  SELECT value->>0 AS store,
         CAST(value->>1 AS integer)
         - (SELECT count(*) FROM reconciler_request b
             WHERE b.owner = :owner AND b.store = value->>0
               AND b.lease_until > :now AND b.lease_until <= :lease_max) AS capacity
    FROM json_each(:stores)),
lane AS (
  SELECT store, capacity, priority, horizon
    FROM capacity CROSS JOIN
         (SELECT 0 AS priority, :nudge_horizon AS horizon UNION ALL SELECT 1, :retry_horizon
          UNION ALL SELECT 2, :resync_horizon) bound
   WHERE capacity > 0),
head AS MATERIALIZED (
  SELECT * FROM (
    SELECT lane.*,
           (SELECT r.rank_at FROM reconciler_request r
             WHERE r.store = lane.store AND r.priority = lane.priority AND r.rank_at <= lane.horizon
               AND r.due_at <= :now
               AND (r.owner IS NULL OR r.lease_until <= :now OR r.lease_until > :lease_max)
             ORDER BY r.rank_at LIMIT 1) AS first
      FROM lane) every
   WHERE first IS NOT NULL ORDER BY first LIMIT :ask),
front AS (
  SELECT r.store, r.clerk_user_id, r.rank_at, head.capacity
    FROM head CROSS JOIN reconciler_request r NOT INDEXED
      ON r.rowid IN (
         SELECT r.rowid FROM reconciler_request r
          WHERE r.store = head.store AND r.priority = head.priority AND r.rank_at <= head.horizon
            AND r.due_at <= :now
            AND (r.owner IS NULL OR r.lease_until <= :now OR r.lease_until > :lease_max)
          ORDER BY r.rank_at LIMIT :ask)),
oldest AS MATERIALIZED (
  SELECT store, clerk_user_id, rank_at, capacity
    FROM (SELECT front.*, row_number() OVER (PARTITION BY store ORDER BY rank_at) AS place FROM front) placed
   WHERE place <= 2 * capacity ORDER BY rank_at LIMIT :ask),
picked AS (
  SELECT store, clerk_user_id, rank_at AS turn
    FROM (SELECT oldest.*, row_number() OVER (PARTITION BY store ORDER BY rank_at, clerk_user_id) AS place
            FROM oldest) placed
   WHERE place <= capacity ORDER BY rank_at, store, clerk_user_id LIMIT :limit)
SELECT store, clerk_user_id FROM picked ORDER BY turn, store, clerk_user_id

-- name: take
-- Takes the rows of `picked`. The turn is the order of the picked keys. A reconcile of an ended owner counts as failed:
-- a request that kills its process must not repeat at full speed.
UPDATE reconciler_request AS r
   SET owner = :owner, lease_until = :until, fencing = :fencing,
       rank_at = min(r.rank_at, :now),
       attempts = r.attempts + CASE WHEN r.owner IS NULL THEN 0 ELSE 1 END,
       again_at = NULL, delayed_at = CASE WHEN r.delayed_at <= :now THEN NULL ELSE r.delayed_at END
  FROM json_each(:picked)
 WHERE r.clerk_user_id = value->>1 AND r.store = value->>0
   AND (r.owner IS NULL OR r.lease_until <= :now OR r.lease_until > :lease_max)
RETURNING store, clerk_user_id, fencing, priority, generation, attempts, reason, due_at,
          wants_updated_at, explicit_generation > seen AS explicit, rank_at AS turn

-- name: gone
WITH held AS (
  SELECT r.clerk_user_id, r.store, CAST(value->>3 AS bigint) AS generation
    FROM json_each(:claims)
    JOIN reconciler_request r
      ON r.clerk_user_id = value->>1 AND r.store = value->>0 AND r.fencing = CAST(value->>2 AS bigint)
     AND r.lease_until IS NOT NULL)
DELETE FROM reconciler_request
 WHERE (clerk_user_id, store) IN (SELECT clerk_user_id, store FROM held)
   AND CASE WHEN again_at IS NULL THEN delayed_at IS NULL ELSE false END
RETURNING store, clerk_user_id, fencing

-- name: again
-- Due again when the earlier of again_at and delayed_at is; either may be null.
WITH held AS (
  SELECT r.clerk_user_id, r.store, CAST(value->>3 AS bigint) AS generation
    FROM json_each(:claims)
    JOIN reconciler_request r
      ON r.clerk_user_id = value->>1 AND r.store = value->>0 AND r.fencing = CAST(value->>2 AS bigint)
     AND r.lease_until IS NOT NULL)
UPDATE reconciler_request AS r
   SET owner = NULL, lease_until = NULL, attempts = 0, seen = held.generation, again_at = NULL, priority = 0,
       due_at = coalesce(min(coalesce(again_at, delayed_at), coalesce(delayed_at, again_at)), :now),
       rank_at = coalesce(min(coalesce(again_at, delayed_at), coalesce(delayed_at, again_at)), :now)
  FROM held WHERE r.clerk_user_id = held.clerk_user_id AND r.store = held.store
RETURNING store, clerk_user_id, fencing

-- name: put_off
UPDATE reconciler_request
   SET owner = NULL, lease_until = NULL, attempts = CASE WHEN :failed THEN attempts + 1 ELSE 0 END, priority = 1,
       reason = CASE WHEN reason = 'user.deleted' THEN reason ELSE :reason END,
       due_at = min(:due_at, coalesce(
           min(coalesce(again_at, delayed_at), coalesce(delayed_at, again_at)), :due_at)),
       rank_at = min(:rank_at, coalesce(
           min(coalesce(again_at, delayed_at), coalesce(delayed_at, again_at)), :rank_at)),
       again_at = NULL
 WHERE clerk_user_id = :user AND store = :store AND fencing = :fencing AND lease_until IS NOT NULL

-- name: hand_back
WITH held AS (
  SELECT r.clerk_user_id, r.store, CAST(value->>3 AS bigint) AS generation
    FROM json_each(:claims)
    JOIN reconciler_request r
      ON r.clerk_user_id = value->>1 AND r.store = value->>0 AND r.fencing = CAST(value->>2 AS bigint)
     AND r.lease_until IS NOT NULL)
UPDATE reconciler_request SET owner = NULL, lease_until = NULL, again_at = NULL
 WHERE (clerk_user_id, store) IN (SELECT clerk_user_id, store FROM held)

-- name: in_progress
SELECT store, clerk_user_id, fencing, attempts, reason, owner FROM reconciler_request WHERE owner IS NOT NULL

-- name: owners
SELECT DISTINCT owner FROM reconciler_request WHERE owner IS NOT NULL

-- name: renew
WITH held AS (
  SELECT r.clerk_user_id, r.store, CAST(value->>3 AS bigint) AS generation
    FROM json_each(:claims)
    JOIN reconciler_request r
      ON r.clerk_user_id = value->>1 AND r.store = value->>0 AND r.fencing = CAST(value->>2 AS bigint)
     AND r.lease_until IS NOT NULL)
UPDATE reconciler_request SET lease_until = :until
 WHERE (clerk_user_id, store) IN (SELECT clerk_user_id, store FROM held)
RETURNING store, clerk_user_id, fencing

-- name: mine
-- With what the mapping says: a user who was erased meanwhile is written no more.
SELECT (SELECT m.status FROM reconciler_mapping m
         WHERE m.shopify_shop = :shop AND m.clerk_user_id = :user) AS status
  FROM reconciler_request
 WHERE clerk_user_id = :user AND store = :store AND fencing = :fencing AND lease_until IS NOT NULL

-- name: hold
-- A writing transaction begins IMMEDIATE: no other writes until it ends.
SELECT 1 AS held FROM reconciler_request
 WHERE clerk_user_id = :user AND store = :store AND fencing = :fencing AND lease_until IS NOT NULL

-- name: oldest
WITH lane AS (SELECT 0 AS priority UNION ALL SELECT 1 UNION ALL SELECT 2)
SELECT value AS store, (SELECT r.due_at FROM reconciler_request r
         WHERE r.store = value AND r.priority = lane.priority
         ORDER BY r.rank_at LIMIT 1) AS due_at
  FROM (SELECT value FROM json_each(:names)) CROSS JOIN lane

-- name: doubts
-- Users in the queue or found by a running scan, at most :names_max of each kind and store, and what their mappings say.
-- A time is that of the last request; none where a scan found the user too, or where the request was added more than once.
WITH
stores AS MATERIALIZED (SELECT value->>0 AS store, value->>1 AS shop FROM json_each(:stores)),
asked AS (
  SELECT s.shop, r.clerk_user_id, CASE WHEN r.generation - r.seen <= 1 THEN r.due_at END AS asked_at
    FROM stores s CROSS JOIN reconciler_request r NOT INDEXED
      ON r.rowid IN (
         SELECT q.rowid FROM reconciler_request q
          WHERE q.priority IN (0, 1, 2) AND q.store = s.store LIMIT :names_max)),
found AS (
  SELECT s.shop, f.clerk_user_id, NULL AS asked_at
    FROM stores s CROSS JOIN reconciler_finding f NOT INDEXED
      ON f.rowid IN (SELECT q.rowid FROM reconciler_finding q WHERE q.shopify_shop = s.shop LIMIT :names_max)),
names AS (SELECT * FROM asked UNION ALL SELECT * FROM found),
waits AS (
  SELECT shop, clerk_user_id, CASE WHEN count(asked_at) = count(*) THEN max(asked_at) END AS asked_at
    FROM names GROUP BY shop, clerk_user_id)
SELECT w.shop, sum(CASE WHEN m.status = 'in_sync' THEN 1 ELSE 0 END) AS in_sync,
       sum(CASE WHEN m.status IS NULL OR (m.status = 'released' AND NOT coalesce(w.asked_at <= m.left_at, FALSE))
                THEN 1 ELSE 0 END) AS unknown
  FROM waits w LEFT JOIN reconciler_mapping m ON m.shopify_shop = w.shop AND m.clerk_user_id = w.clerk_user_id
 GROUP BY w.shop

-- name: tally
SELECT store, count(*) AS total, sum(CASE WHEN owner IS NOT NULL THEN 1 ELSE 0 END) AS in_flight,
       sum(CASE WHEN owner IS NULL AND due_at > :now THEN 1 ELSE 0 END) AS delayed,
       sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END) AS failing
  FROM reconciler_request GROUP BY store

-- name: depth
SELECT count(*) FROM reconciler_request

-- name: depth_of
SELECT count(*) FROM reconciler_request WHERE priority IN (0, 1, 2) AND store = :store

-- name: forget
DELETE FROM reconciler_request WHERE store = :store

-- name: next_number
-- The one row holds the last number.
UPDATE reconciler_fencing SET id = id + 1 RETURNING id

-- name: first_number
-- Without that row: SQLite begins after every number that was ever inserted.
INSERT INTO reconciler_fencing DEFAULT VALUES RETURNING id
