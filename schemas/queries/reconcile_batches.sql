-- What the ledger knows of every spool that was heard of in [since_ms, until_ms): all its life. Repeats are one in a
-- bitmap, so nothing is merged first; where a seq has several fates, is_torn says that reconcile_ranges must be asked.
SELECT
    probe_id,
    toString(spool_id) AS spool,
    topic,
    toInt64(max(newest)) AS last_seq,
    groupBitmapMerge(seqs) AS known,
    groupBitmapMergeIf(seqs, stored > 0 OR quarantined = 0) AS stored_seqs,
    sum(stored * bitmapCardinality(seqs)) AS stored_streams,
    sum(quarantined * bitmapCardinality(seqs)) AS quarantined_streams,
    sum(bitmapCardinality(seqs)) > known AS is_torn
FROM
(
    SELECT probe_id, spool_id, topic, stored, quarantined, max(seq) AS newest, groupBitmapState(seq) AS seqs
    FROM batch
    WHERE spool_id IN
    (
        SELECT spool_id FROM batch WHERE received_ms >= %(since_ms)s AND received_ms < %(until_ms)s
        UNION DISTINCT
        SELECT toUUIDOrZero(arrayJoin(spools)) FROM probe_health
        WHERE sent_at >= toDateTime(intDiv(%(since_ms)s, 1000), 'UTC')
            AND sent_at < toDateTime(intDiv(%(until_ms)s, 1000), 'UTC')
    )
    GROUP BY probe_id, spool_id, topic, stored, quarantined
)
GROUP BY probe_id, spool_id, topic
ORDER BY probe_id, spool, topic
