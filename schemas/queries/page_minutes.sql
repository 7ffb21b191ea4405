-- The minutes of one stream since from_s, all probes summed; loaded slots apart.
SELECT
    toUnixTimestamp(minute) AS minute_s,
    sum(planned) AS planned,
    sum(sent) AS sent,
    sum(received) AS received,
    sum(lost_forward) AS lost_forward,
    sum(lost_backward) AS lost_backward,
    sum(lost_unresolved) AS lost_unresolved,
    max(loss_run_max) AS loss_run_max,
    sum(loaded_sent) AS loaded_sent,
    sumMap(arrayConcat(rtt_bin, forward_bin), arrayConcat(rtt_count, forward_count)) AS delay,
    delay.1 AS delay_bin,
    delay.2 AS delay_count,
    sumMap(backward_bin, backward_count) AS back,
    back.1 AS backward_bin,
    back.2 AS backward_count
FROM kpi_1m_latest
WHERE stream_id = %(stream_id)s
    AND toStartOfHour(minute) >= toStartOfHour(toDateTime(%(from_s)s, 'UTC'))
    AND minute >= toDateTime(%(from_s)s, 'UTC')
GROUP BY minute
ORDER BY minute
