-- Every slot of a mesh since from_s, newest revision each: what is held against the lab's ledger.
SELECT
    toString(spool_id) AS spool_id,
    stream_id,
    toUnixTimestamp(slot) AS slot_s,
    first_index,
    sent,
    send_failed,
    received,
    lost_forward,
    lost_backward,
    lost_unresolved,
    loss_runs,
    rtt_n,
    rtt_sum_us,
    forward_n,
    forward_sum_us,
    backward_n,
    backward_sum_us
FROM summary_10s_latest
WHERE mesh = %(mesh)s AND slot >= toDateTime(%(from_s)s, 'UTC')
ORDER BY spool_id, stream_id, slot
