-- The newest slot of each stream in which packets came back: its middle delay bin (forward, or round trip where the
-- method knows no directions), since from_s.
SELECT
    stream_id,
    toUnixTimestamp(slot) AS slot_s,
    received,
    bins[arrayFirstIndex(seen -> 2 * seen >= received, arrayCumSum(counts))] AS median_bin
FROM
(
    SELECT
        stream_id,
        slot,
        forward_n + rtt_n AS received,
        if(forward_n > 0, forward_bin, rtt_bin) AS bins,
        if(forward_n > 0, forward_count, rtt_count) AS counts
    FROM summary_10s_latest
    WHERE mesh = %(mesh)s
        AND slot >= toDateTime(%(from_s)s, 'UTC')
        AND forward_n + rtt_n > 0
    ORDER BY slot DESC
    LIMIT 1 BY stream_id
)
ORDER BY stream_id
