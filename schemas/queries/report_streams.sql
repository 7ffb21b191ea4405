-- One row a planned stream of the mesh version in force at the end of [from_s, until_s), silent streams included.
-- Whole minutes only. planned_slots counts by the plan, not by what arrived: an absent slot lowers the coverage.
WITH
    (
        SELECT argMax(version, valid_from) FROM mesh_latest
        WHERE mesh = %(mesh)s AND valid_from < toDateTime(%(until_s)s, 'UTC')
    ) AS wanted,
    (
        SELECT max(valid_from) FROM mesh_latest
        WHERE mesh = %(mesh)s AND version = wanted AND valid_from < toDateTime(%(until_s)s, 'UTC')
    ) AS since
SELECT
    p.stream_id AS stream_id,
    p.source AS source,
    p.destination AS destination,
    p.source_node AS source_node,
    p.destination_node AS destination_node,
    p.method AS method,
    p.plane AS plane,
    p.relation AS relation,
    p.distance_km AS distance_km,
    p.planned_per_slot * intDiv(%(until_s)s - %(from_s)s, 10) AS planned,
    k.sent AS sent,
    k.received AS received,
    k.lost_forward AS lost_forward,
    k.lost_backward AS lost_backward,
    k.lost_unresolved AS lost_unresolved,
    k.loaded_sent AS loaded_sent,
    k.minutes AS minutes,
    k.clock_synchronised AS clock_synchronised,
    k.clock_error_us AS clock_error_us,
    k.loss_run_max AS loss_run_max,
    k.delay_bin AS delay_bin,
    k.delay_count AS delay_count,
    k.ipdv_pairs AS ipdv_pairs,
    k.ipdv_abs_sum_us AS ipdv_abs_sum_us
FROM stream_latest AS p
LEFT JOIN
(
    SELECT
        stream_id,
        sum(sent) AS sent,
        sum(received) AS received,
        sum(lost_forward) AS lost_forward,
        sum(lost_backward) AS lost_backward,
        sum(lost_unresolved) AS lost_unresolved,
        sum(loaded_sent) AS loaded_sent,
        count(DISTINCT minute) AS minutes,
        min(clock_synchronised) AS clock_synchronised,
        max(clock_error_us) AS clock_error_us,
        max(loss_run_max) AS loss_run_max,
        sumMap(arrayConcat(rtt_bin, forward_bin), arrayConcat(rtt_count, forward_count)) AS delay,
        delay.1 AS delay_bin,
        delay.2 AS delay_count,
        sum(rtt_ipdv_pairs + forward_ipdv_pairs) AS ipdv_pairs,
        sum(rtt_ipdv_abs_sum_us + forward_ipdv_abs_sum_us) AS ipdv_abs_sum_us
    FROM kpi_1m_latest
    WHERE mesh = %(mesh)s
        AND toStartOfHour(minute) >= toStartOfHour(toDateTime(%(from_s)s, 'UTC'))
        AND toStartOfHour(minute) <= toStartOfHour(toDateTime(%(until_s)s, 'UTC'))
        AND minute >= toDateTime(%(from_s)s, 'UTC') AND minute < toDateTime(%(until_s)s, 'UTC')
    GROUP BY stream_id
) AS k ON k.stream_id = p.stream_id
WHERE p.mesh = %(mesh)s AND p.version = wanted AND p.valid_from = since
ORDER BY p.source, p.destination, p.method, p.stream_id
