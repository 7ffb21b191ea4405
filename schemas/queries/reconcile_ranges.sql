-- The unbroken ranges of seq that the ledger has of the named spools, and what became of each: one moment's answer.
SELECT
    probe_id,
    spool,
    topic,
    toInt64(min(seq)) AS first,
    toInt64(max(seq)) AS last,
    countIf(is_stored) AS stored_seqs,
    sum(streams_stored) AS stored_streams,
    sum(streams_quarantined) AS quarantined_streams
FROM
(
    SELECT *, seq - row_number() OVER (PARTITION BY probe_id, spool, topic ORDER BY seq) AS island
    FROM
    (
        SELECT
            probe_id,
            toString(spool_id) AS spool,
            topic,
            seq,
            max(stored > 0 OR quarantined = 0) AS is_stored,
            sum(stored) AS streams_stored,
            sum(quarantined) AS streams_quarantined
        FROM batch FINAL
        WHERE spool_id IN (SELECT toUUID(arrayJoin(%(spools)s)))
        GROUP BY probe_id, spool_id, topic, seq
    )
)
GROUP BY probe_id, spool, topic, island
ORDER BY probe_id, spool, topic, first
