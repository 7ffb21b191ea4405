-- What the ledger has of the named spools, each seq once and 4,096 of them a row: the first, the last, what is absent in
-- between, and what became of those that are there. One moment's answer.
SELECT
    probe_id,
    toString(spool_id) AS spool,
    topic,
    toInt64(min(seq)) AS first,
    toInt64(max(seq)) AS last,
    bitmapToArray(bitmapAndnot(bitmapBuild(range(min(seq), max(seq) + 1)), groupBitmapState(seq))) AS absent,
    groupBitmapIf(seq, stored > 0 OR quarantined = 0) AS stored_seqs,
    sum(stored) AS stored_streams,
    sum(quarantined) AS quarantined_streams
FROM batch FINAL
WHERE spool_id IN (SELECT toUUID(arrayJoin(%(spools)s)))
GROUP BY probe_id, spool_id, topic, intDiv(seq, 4096)
ORDER BY probe_id, spool, topic, first
