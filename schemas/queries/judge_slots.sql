-- The newest rows of some streams, for a person who asks why: slots in [from_s, until_s), all spools.
SELECT
    stream_id,
    probe_id,
    toInt64(toUnixTimestamp(slot)) * 1000 AS start_ms,
    revision,
    complete,
    planned,
    sent,
    received,
    lost_forward,
    lost_backward,
    lost_unresolved,
    send_failed,
    loss_runs,
    loss_run_max,
    loaded,
    probe_sick,
    received_ms
FROM summary_10s_latest
WHERE stream_id IN %(stream_ids)s
    AND slot >= toDateTime(%(from_s)s, 'UTC')
    AND slot < toDateTime(%(until_s)s, 'UTC')
ORDER BY stream_id, start_ms, received_ms
