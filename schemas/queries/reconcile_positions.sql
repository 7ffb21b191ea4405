-- One stored batch of each named (probe, minute), where it stands in its topic: any of them makes its owner fold the
-- window again, the one that came last is the likeliest to be there still.
SELECT
    probe_id,
    toUnixTimestamp(toStartOfMinute(slot)) AS minute_s,
    argMax((toString(spool_id), seq, partition, offset), received_ms) AS newest,
    tupleElement(newest, 1) AS spool,
    tupleElement(newest, 2) AS at_seq,
    tupleElement(newest, 3) AS at_partition,
    tupleElement(newest, 4) AS at_offset
FROM batch FINAL
WHERE topic = %(topic)s AND stored > 0 AND probe_id IN %(probes)s
    AND slot >= toDateTime(%(from_s)s, 'UTC') AND slot < toDateTime(%(until_s)s, 'UTC')
    AND (probe_id, toUnixTimestamp(toStartOfMinute(slot))) IN
    (
        SELECT pair.1, pair.2
        FROM (SELECT arrayJoin(arrayZip(%(pair_probes)s, %(pair_minutes)s)) AS pair)
    )
GROUP BY probe_id, minute_s
ORDER BY probe_id, minute_s
