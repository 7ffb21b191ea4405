-- What the heartbeats of [since_ms, until_ms) say of every spool. `judged_acked` is the newest acknowledged seq of which
-- the worker must have answered: of a heartbeat older than what it has stored of the same probe and topic (one key, one
-- order), or older than settled_ms.
SELECT
    h.probe_id AS probe_id,
    h.spool AS spool,
    h.topic AS topic,
    max(h.last_seq) AS last_seq,
    max(if(h.received_ms <= greatest(p.progress_ms, %(settled_ms)s), h.acked_seq, -1)) AS judged_acked
FROM
(
    SELECT probe_id, received_ms, spool, topic, last_seq, acked_seq
    FROM probe_health
    ARRAY JOIN spools AS spool, topics AS topic, last_seqs AS last_seq, acked_seqs AS acked_seq
    WHERE sent_at >= toDateTime(intDiv(%(since_ms)s, 1000), 'UTC') AND sent_at < toDateTime(intDiv(%(until_ms)s, 1000), 'UTC')
) AS h
LEFT JOIN
(
    SELECT probe_id, topic, max(received_ms) AS progress_ms
    FROM batch
    GROUP BY probe_id, topic
) AS p ON p.probe_id = h.probe_id AND p.topic = h.topic
GROUP BY probe_id, spool, topic
ORDER BY probe_id, spool, topic
SETTINGS optimize_aggregation_in_order = 1  -- of `batch`, whose key begins with both: three times as fast
