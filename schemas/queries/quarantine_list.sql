-- What was refused since an instant, newest first, without the bytes; `stored` says that the same message has since been
-- stored: it was read again, or replayed.
SELECT
    q.topic AS topic,
    q.partition AS partition,
    q.offset AS offset,
    q.received_ms AS received_ms,
    q.reason AS reason,
    q.detail AS detail,
    q.claimed_probe AS claimed_probe,
    q.claimed_spool AS claimed_spool,
    q.claimed_seq AS claimed_seq,
    q.signed AS signed,
    q.stream_id AS stream_id,
    b.stored > 0 AS stored
FROM quarantine_latest AS q
LEFT JOIN
(
    SELECT topic, probe_id, toString(spool_id) AS spool, seq, max(stored) AS stored
    FROM batch
    GROUP BY topic, probe_id, spool, seq
) AS b ON b.topic = q.topic AND b.probe_id = q.claimed_probe AND b.spool = q.claimed_spool AND b.seq = toUInt64(q.claimed_seq)
WHERE q.received_ms >= %(since_ms)s AND (has(%(reasons)s, q.reason) OR has(%(reasons)s, ''))
ORDER BY received_ms DESC, topic, partition, offset, stream_id
LIMIT %(limit)s
