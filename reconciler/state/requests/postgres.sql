-- The queue's statements for Postgres; sqlite.sql has the same for SQLite.
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
INSERT INTO reconciler.reconciler_request AS r
       (clerk_user_id, store, priority, due_at, rank_at, attempts, generation, seen,
        explicit_generation, wants_updated_at, fencing, reason, delayed_at)
SELECT value->>1, value->>0, :priority, :due_at, CAST(value->>2 AS timestamptz), 0, 1, 0,
       :explicit, :wants, 0, :reason, :delayed_at
  FROM json_array_elements(CAST(:requests AS json)) AS j(value) WHERE true
ON CONFLICT (clerk_user_id, store) DO UPDATE SET
  generation = r.generation + 1,
  explicit_generation = CASE WHEN excluded.explicit_generation > 0 THEN r.generation + 1
                             ELSE r.explicit_generation END,
  wants_updated_at = greatest(coalesce(r.wants_updated_at, excluded.wants_updated_at),
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
  due_at = CASE WHEN r.owner IS NULL OR r.due_at > :now THEN least(r.due_at, excluded.due_at) ELSE r.due_at END,
  priority = CASE WHEN r.owner IS NOT NULL OR (excluded.due_at > :now AND r.due_at < excluded.due_at) THEN r.priority
                  WHEN r.due_at > :now THEN excluded.priority ELSE least(r.priority, excluded.priority) END,
  rank_at = least(r.rank_at, excluded.rank_at)
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

-- name: take
-- A claim considers all lanes (a store's nudges, retries, resyncs). It takes those with the oldest first request, their
-- front by the index, what the caps leave capacity for, then the oldest. It reads twice as many as wanted, since
-- another replica may be taking some of them: locked rows are skipped. `horizon` bounds a lane: a due request ranks at
-- most its lane's head start ahead, so keys in backoff behind it are never read. An owner's claims count against the
-- caps while their leases hold. An outage can leave claims that their owner does not know of: the answer was lost, or a
-- worker gave up. A lease that ends later than any holder may set was written by a clock that was ahead, and protects
-- nothing. A reconcile of an ended owner counts as failed: a request that kills its process must not repeat at full
-- speed.
WITH
capacity AS (
  SELECT value->>0 AS store,
         CAST(value->>1 AS integer)
         - (SELECT count(*) FROM reconciler.reconciler_request b
             WHERE b.owner = :owner AND b.store = value->>0
               AND b.lease_until > :now AND b.lease_until <= :lease_max) AS capacity
    FROM json_array_elements(CAST(:stores AS json)) AS j(value)),
lane AS (
  SELECT store, capacity, priority, horizon
    FROM capacity CROSS JOIN
         (SELECT 0 AS priority, :nudge_horizon AS horizon UNION ALL SELECT 1, :retry_horizon
          UNION ALL SELECT 2, :resync_horizon) bound
   WHERE capacity > 0),
head AS MATERIALIZED (
  SELECT * FROM (
    SELECT lane.*,
           (SELECT r.rank_at FROM reconciler.reconciler_request r
             WHERE r.store = lane.store AND r.priority = lane.priority AND r.rank_at <= lane.horizon
               AND r.due_at <= :now
               AND (r.owner IS NULL OR r.lease_until <= :now OR r.lease_until > :lease_max)
             ORDER BY r.rank_at LIMIT 1) AS first
      FROM lane) every
   WHERE first IS NOT NULL ORDER BY first LIMIT :ask),
front AS (
  SELECT f.store, f.clerk_user_id, f.rank_at, head.capacity
    FROM head CROSS JOIN LATERAL (
         SELECT r.store, r.clerk_user_id, r.rank_at FROM reconciler.reconciler_request r
          WHERE r.store = head.store AND r.priority = head.priority AND r.rank_at <= head.horizon
            AND r.due_at <= :now
            AND (r.owner IS NULL OR r.lease_until <= :now OR r.lease_until > :lease_max)
          ORDER BY r.rank_at LIMIT :ask) f),
oldest AS MATERIALIZED (
  SELECT store, clerk_user_id, rank_at, capacity
    FROM (SELECT front.*, row_number() OVER (PARTITION BY store ORDER BY rank_at) AS place FROM front) placed
   WHERE place <= 2 * capacity ORDER BY rank_at LIMIT :ask),
locked AS (
  SELECT r.store, r.clerk_user_id, oldest.rank_at, oldest.capacity
    FROM oldest JOIN reconciler.reconciler_request r
      ON r.clerk_user_id = oldest.clerk_user_id AND r.store = oldest.store
   WHERE r.due_at <= :now
     AND (r.owner IS NULL OR r.lease_until <= :now OR r.lease_until > :lease_max)
   ORDER BY oldest.rank_at FOR UPDATE OF r SKIP LOCKED),
picked AS (
  SELECT store, clerk_user_id, rank_at AS turn
    FROM (SELECT locked.*, row_number() OVER (PARTITION BY store ORDER BY rank_at, clerk_user_id) AS place
            FROM locked) placed
   WHERE place <= capacity ORDER BY rank_at, store, clerk_user_id LIMIT :limit)
UPDATE reconciler.reconciler_request AS r
   SET owner = :owner, lease_until = :until, fencing = nextval('reconciler.reconciler_fencing_id_seq'),
       rank_at = least(r.rank_at, :now),
       attempts = r.attempts + CASE WHEN r.owner IS NULL THEN 0 ELSE 1 END,
       again_at = NULL, delayed_at = CASE WHEN r.delayed_at <= :now THEN NULL ELSE r.delayed_at END
  FROM picked
 WHERE r.clerk_user_id = picked.clerk_user_id AND r.store = picked.store
   AND (r.owner IS NULL OR r.lease_until <= :now OR r.lease_until > :lease_max)
RETURNING r.store, r.clerk_user_id, r.fencing, r.priority, r.generation, r.attempts, r.reason, r.due_at,
          r.wants_updated_at, r.explicit_generation > r.seen AS explicit, picked.turn AS turn

-- name: gone
-- `lease_until` instead of `owner`, and one lookup a claim: so Postgres uses the key whatever its statistics are, and
-- never reads all rows in progress. (A LIMIT 1 would make it scan a table without statistics.) The claims come in key
-- order. CASE, since Postgres estimates `IS NULL` of columns without statistics as rare, and would begin with the whole
-- table.
WITH held AS (
  SELECT h.clerk_user_id, h.store, CAST(value->>3 AS bigint) AS generation
    FROM json_array_elements(CAST(:claims AS json)) AS j(value)
   CROSS JOIN LATERAL (
         SELECT r.clerk_user_id, r.store FROM reconciler.reconciler_request r
          WHERE r.clerk_user_id = value->>1 AND r.store = value->>0 AND r.fencing = CAST(value->>2 AS bigint)
            AND r.lease_until IS NOT NULL FOR UPDATE OF r) h)
DELETE FROM reconciler.reconciler_request
 WHERE (clerk_user_id, store) IN (SELECT clerk_user_id, store FROM held)
   AND CASE WHEN again_at IS NULL THEN delayed_at IS NULL ELSE false END
RETURNING store, clerk_user_id, fencing

-- name: again
-- Due again when the earlier of again_at and delayed_at is; either may be null.
WITH held AS (
  SELECT h.clerk_user_id, h.store, CAST(value->>3 AS bigint) AS generation
    FROM json_array_elements(CAST(:claims AS json)) AS j(value)
   CROSS JOIN LATERAL (
         SELECT r.clerk_user_id, r.store FROM reconciler.reconciler_request r
          WHERE r.clerk_user_id = value->>1 AND r.store = value->>0 AND r.fencing = CAST(value->>2 AS bigint)
            AND r.lease_until IS NOT NULL FOR UPDATE OF r) h)
UPDATE reconciler.reconciler_request AS r
   SET owner = NULL, lease_until = NULL, attempts = 0, seen = held.generation, again_at = NULL, priority = 0,
       due_at = coalesce(least(coalesce(again_at, delayed_at), coalesce(delayed_at, again_at)), :now),
       rank_at = coalesce(least(coalesce(again_at, delayed_at), coalesce(delayed_at, again_at)), :now)
  FROM held WHERE r.clerk_user_id = held.clerk_user_id AND r.store = held.store
RETURNING r.store, r.clerk_user_id, r.fencing

-- name: put_off
UPDATE reconciler.reconciler_request
   SET owner = NULL, lease_until = NULL, attempts = CASE WHEN :failed THEN attempts + 1 ELSE 0 END, priority = 1,
       reason = CASE WHEN reason = 'user.deleted' THEN reason ELSE :reason END,
       due_at = least(:due_at, coalesce(
           least(coalesce(again_at, delayed_at), coalesce(delayed_at, again_at)), :due_at)),
       rank_at = least(:rank_at, coalesce(
           least(coalesce(again_at, delayed_at), coalesce(delayed_at, again_at)), :rank_at)),
       again_at = NULL
 WHERE clerk_user_id = :user AND store = :store AND fencing = :fencing AND lease_until IS NOT NULL

-- name: hand_back
WITH held AS (
  SELECT h.clerk_user_id, h.store, CAST(value->>3 AS bigint) AS generation
    FROM json_array_elements(CAST(:claims AS json)) AS j(value)
   CROSS JOIN LATERAL (
         SELECT r.clerk_user_id, r.store FROM reconciler.reconciler_request r
          WHERE r.clerk_user_id = value->>1 AND r.store = value->>0 AND r.fencing = CAST(value->>2 AS bigint)
            AND r.lease_until IS NOT NULL FOR UPDATE OF r) h)
UPDATE reconciler.reconciler_request SET owner = NULL, lease_until = NULL, again_at = NULL
 WHERE (clerk_user_id, store) IN (SELECT clerk_user_id, store FROM held)

-- name: in_progress
SELECT store, clerk_user_id, fencing, attempts, reason, owner FROM reconciler.reconciler_request WHERE owner IS NOT NULL

-- name: owners
SELECT DISTINCT owner FROM reconciler.reconciler_request WHERE owner IS NOT NULL

-- name: renew
WITH held AS (
  SELECT h.clerk_user_id, h.store, CAST(value->>3 AS bigint) AS generation
    FROM json_array_elements(CAST(:claims AS json)) AS j(value)
   CROSS JOIN LATERAL (
         SELECT r.clerk_user_id, r.store FROM reconciler.reconciler_request r
          WHERE r.clerk_user_id = value->>1 AND r.store = value->>0 AND r.fencing = CAST(value->>2 AS bigint)
            AND r.lease_until IS NOT NULL FOR UPDATE OF r) h)
UPDATE reconciler.reconciler_request SET lease_until = :until
 WHERE (clerk_user_id, store) IN (SELECT clerk_user_id, store FROM held)
RETURNING store, clerk_user_id, fencing

-- name: mine
-- With what the mapping says: a user who was erased meanwhile is written no more.
SELECT (SELECT m.status FROM reconciler.reconciler_mapping m
         WHERE m.shopify_shop = :shop AND m.clerk_user_id = :user) AS status
  FROM reconciler.reconciler_request
 WHERE clerk_user_id = :user AND store = :store AND fencing = :fencing AND lease_until IS NOT NULL

-- name: hold
SELECT 1 AS held FROM reconciler.reconciler_request
 WHERE clerk_user_id = :user AND store = :store AND fencing = :fencing AND lease_until IS NOT NULL
   FOR SHARE

-- name: oldest
WITH lane AS (SELECT 0 AS priority UNION ALL SELECT 1 UNION ALL SELECT 2)
SELECT value AS store, (SELECT r.due_at FROM reconciler.reconciler_request r
         WHERE r.store = value AND r.priority = lane.priority
         ORDER BY r.rank_at LIMIT 1) AS due_at
  FROM json_array_elements_text(CAST(:names AS json)) AS j(value) CROSS JOIN lane

-- name: doubts
-- Users in the queue or found by a running scan, at most :names_max of each kind and store, and what their mappings say.
-- A time is that of the last request; none where a scan found the user too, or where the request was added more than once.
WITH
stores AS MATERIALIZED (
  SELECT j.value->>0 AS store, j.value->>1 AS shop FROM json_array_elements(CAST(:stores AS json)) AS j(value)),
asked AS (
  SELECT s.shop, r.clerk_user_id, CASE WHEN r.generation - r.seen <= 1 THEN r.due_at END AS asked_at
    FROM stores s CROSS JOIN LATERAL (
         SELECT q.* FROM reconciler.reconciler_request q
          WHERE q.priority IN (0, 1, 2) AND q.store = s.store LIMIT :names_max) r),
found AS (
  SELECT s.shop, f.clerk_user_id, CAST(NULL AS timestamptz) AS asked_at
    FROM stores s CROSS JOIN LATERAL (
         SELECT q.clerk_user_id FROM reconciler.reconciler_finding q
          WHERE q.shopify_shop = s.shop LIMIT :names_max) f),
names AS (SELECT * FROM asked UNION ALL SELECT * FROM found),
waits AS (
  SELECT shop, clerk_user_id, CASE WHEN count(asked_at) = count(*) THEN max(asked_at) END AS asked_at
    FROM names GROUP BY shop, clerk_user_id)
SELECT w.shop, sum(CASE WHEN m.status = 'in_sync' THEN 1 ELSE 0 END) AS in_sync,
       sum(CASE WHEN m.status IS NULL OR (m.status = 'released' AND NOT coalesce(w.asked_at <= m.left_at, FALSE))
                THEN 1 ELSE 0 END) AS unknown
  FROM waits w LEFT JOIN reconciler.reconciler_mapping m ON m.shopify_shop = w.shop AND m.clerk_user_id = w.clerk_user_id
 GROUP BY w.shop

-- name: tally
SELECT store, count(*) AS total, sum(CASE WHEN owner IS NOT NULL THEN 1 ELSE 0 END) AS in_flight,
       sum(CASE WHEN owner IS NULL AND due_at > :now THEN 1 ELSE 0 END) AS delayed,
       sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END) AS failing
  FROM reconciler.reconciler_request GROUP BY store

-- name: depth
SELECT count(*) FROM reconciler.reconciler_request

-- name: depth_of
SELECT count(*) FROM reconciler.reconciler_request WHERE priority IN (0, 1, 2) AND store = :store

-- name: forget
DELETE FROM reconciler.reconciler_request WHERE store = :store
