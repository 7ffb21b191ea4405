-- All revisions of all slots of the named (probe, minute) pairs, for the fold; without what the named messages stored.
-- No FINAL: the fold keeps the newest revision of a key itself, and a merge here would be paid for twice.
SELECT
    s.probe_id AS probe_id,
    s.spool_id AS spool_id,
    s.stream_id AS stream_id,
    s.slot AS slot,
    s.revision AS revision,
    s.mesh AS mesh,
    s.complete AS complete,
    s.clock_synchronised AS clock_synchronised,
    s.clock_error_us AS clock_error_us,
    s.probe_sick AS probe_sick,
    s.loaded AS loaded,
    s.planned AS planned,
    s.sent AS sent,
    s.received AS received,
    s.lost_forward AS lost_forward,
    s.lost_backward AS lost_backward,
    s.lost_unresolved AS lost_unresolved,
    s.late AS late,
    s.unreachable AS unreachable,
    s.send_failed AS send_failed,
    s.duplicate AS duplicate,
    s.reordered AS reordered,
    s.loss_runs AS loss_runs,
    s.loss_run_max AS loss_run_max,
    s.rtt_n AS rtt_n,
    s.rtt_min_us AS rtt_min_us,
    s.rtt_max_us AS rtt_max_us,
    s.rtt_sum_us AS rtt_sum_us,
    s.rtt_bin AS rtt_bin,
    s.rtt_count AS rtt_count,
    s.rtt_ipdv_pairs AS rtt_ipdv_pairs,
    s.rtt_ipdv_abs_sum_us AS rtt_ipdv_abs_sum_us,
    s.rtt_ipdv_bin AS rtt_ipdv_bin,
    s.rtt_ipdv_count AS rtt_ipdv_count,
    s.forward_n AS forward_n,
    s.forward_min_us AS forward_min_us,
    s.forward_max_us AS forward_max_us,
    s.forward_sum_us AS forward_sum_us,
    s.forward_bin AS forward_bin,
    s.forward_count AS forward_count,
    s.forward_ipdv_pairs AS forward_ipdv_pairs,
    s.forward_ipdv_abs_sum_us AS forward_ipdv_abs_sum_us,
    s.forward_ipdv_bin AS forward_ipdv_bin,
    s.forward_ipdv_count AS forward_ipdv_count,
    s.backward_n AS backward_n,
    s.backward_min_us AS backward_min_us,
    s.backward_max_us AS backward_max_us,
    s.backward_sum_us AS backward_sum_us,
    s.backward_bin AS backward_bin,
    s.backward_count AS backward_count,
    s.backward_ipdv_pairs AS backward_ipdv_pairs,
    s.backward_ipdv_abs_sum_us AS backward_ipdv_abs_sum_us,
    s.backward_ipdv_bin AS backward_ipdv_bin,
    s.backward_ipdv_count AS backward_ipdv_count
FROM summary_10s AS s
PREWHERE s.slot >= toDateTime(%(from_s)s, 'UTC') AND s.slot < toDateTime(%(until_s)s, 'UTC')
AND (toStartOfMinute(s.slot), s.probe_id) IN
(
    SELECT toDateTime(pair.2, 'UTC'), pair.1
    FROM (SELECT arrayJoin(arrayZip(%(pair_probes)s, %(pair_minutes)s)) AS pair)
)
AND (s.probe_id, s.spool_id, s.seq) NOT IN
(
    SELECT known.1, toUUID(known.2), known.3
    FROM (SELECT arrayJoin(arrayZip(%(known_probes)s, %(known_spools)s, %(known_seqs)s)) AS known)
)
