-- The slots of [from_s, until_s) of which the base holds fewer streams than the ledger has stored: rows that the store
-- took and lost. The newest revision of a slot lists all streams of its probe; the ledger is written after the base.
SELECT
    probe_id,
    toString(spool_id) AS spool,
    toUnixTimestamp(slot) AS slot_s,
    max(ledger_revision) AS newest,
    argMax((stored, partition, offset, seq), (ledger_revision, stored)) AS told,
    tupleElement(told, 1) AS wanted,
    arraySum(each -> if(each.1 >= newest, each.2, 0), groupArray((base_revision, held))) AS found,
    tupleElement(told, 2) AS at_partition,
    tupleElement(told, 3) AS at_offset,
    tupleElement(told, 4) AS at_seq
FROM
(
    SELECT
        probe_id,
        spool_id,
        slot,
        revision AS ledger_revision,
        stored,
        partition,
        offset,
        seq,
        0 AS base_revision,
        0 AS held
    FROM batch FINAL
    WHERE topic = %(topic)s AND stored > 0
        AND slot >= toDateTime(%(from_s)s, 'UTC') AND slot < toDateTime(%(until_s)s, 'UTC')
    UNION ALL
    SELECT probe_id, spool_id, slot, 0, 0, 0, 0, 0, revision, count()
    FROM summary_10s FINAL
    WHERE slot >= toDateTime(%(from_s)s, 'UTC') AND slot < toDateTime(%(until_s)s, 'UTC')
    GROUP BY probe_id, spool_id, slot, revision
)
GROUP BY probe_id, spool_id, slot
HAVING found < wanted
ORDER BY probe_id, spool, slot_s
