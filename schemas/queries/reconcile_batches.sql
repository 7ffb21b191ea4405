-- What the ledger knows of every spool that was heard of in [since_ms, until_ms): all its life, one fate a seq.
SELECT
    probe_id,
    toString(spool_id) AS spool,
    topic,
    toInt64(max(seq)) AS last_seq,
    groupBitmap(seq) AS known,
    groupBitmapIf(seq, stored > 0 OR quarantined = 0) AS stored_seqs,
    sum(stored) AS stored_streams,
    sum(quarantined) AS quarantined_streams
FROM batch FINAL
WHERE spool_id IN
(
    SELECT spool_id FROM batch WHERE received_ms >= %(since_ms)s AND received_ms < %(until_ms)s
    UNION DISTINCT
    SELECT toUUIDOrZero(arrayJoin(spools)) FROM probe_health
    WHERE sent_at >= toDateTime(intDiv(%(since_ms)s, 1000), 'UTC')
        AND sent_at < toDateTime(intDiv(%(until_ms)s, 1000), 'UTC')
)
GROUP BY probe_id, spool_id, topic
ORDER BY probe_id, spool, topic
