-- The unbroken ranges of seq that the ledger has of the named spools.
SELECT probe_id, spool, topic, toInt64(min(seq)) AS first, toInt64(max(seq)) AS last
FROM
(
    SELECT
        probe_id,
        spool,
        topic,
        seq,
        seq - row_number() OVER (PARTITION BY probe_id, spool, topic ORDER BY seq) AS island
    FROM
    (
        SELECT DISTINCT probe_id, toString(spool_id) AS spool, topic, seq
        FROM batch
        WHERE spool_id IN (SELECT toUUID(arrayJoin(%(spools)s)))
    )
)
GROUP BY probe_id, spool, topic, island
ORDER BY probe_id, spool, topic, first
