-- The windows of [from_s, until_s), whole minutes, that are not what their slots amount to; one row a (probe, minute, kind).
-- absent: slots and no window. behind: a window that knows less than its slots. ahead: one that knows more than there is.
-- altered: the version says they agree and the figures do not. `mark` is a sum of the figures with odd weights, modulo
-- 2^64: what the marks of the slots add up to is the mark of their window. A window with a slot that came in after
-- settled_ms is left out: its worker may be at it.
SELECT
    probe_id,
    toUnixTimestamp(minute) AS minute_s,
    kind,
    count() AS streams,
    arraySort(groupArray(20)(stream_id)) AS some_streams
FROM
(
    SELECT
        probe_id,
        stream_id,
        minute,
        bitOr(bitShiftLeft(toUInt64(%(rule)s), 32), sum(revision)) AS known,
        sum(version) AS told,
        multiIf(
            told = 0, 'absent',
            told < known, 'behind',
            told > known OR sum(slots) = 0, 'ahead',
            sum(mark) != sum(told_mark), 'altered',
            'equal'
        ) AS kind
    FROM
    (
        SELECT
            probe_id,
            stream_id,
            toStartOfMinute(slot) AS minute,
            1 AS slots,
            revision,
            received_ms,
            13151770607971964795 * planned +
            9267213806517364757 * sent +
            17709737710725926211 * received +
            15735754687853522797 * lost_forward +
            1343316261385088033 * lost_backward +
            7019250098777723063 * lost_unresolved +
            15787575805681011001 * late +
            2013090415353213199 * unreachable +
            1144140924214792333 * send_failed +
            10695634336036460561 * duplicate +
            12836499103843954575 * reordered +
            16290036904786380737 * loss_runs +
            6722511338893542467 * rtt_n +
            3906645173279848475 * rtt_sum_us +
            12387880436486454943 * rtt_ipdv_pairs +
            12461383722523559499 * rtt_ipdv_abs_sum_us +
            12365236565709098625 * forward_n +
            17663473477216507017 * forward_sum_us +
            2035856378898150773 * forward_ipdv_pairs +
            2163611478702767329 * forward_ipdv_abs_sum_us +
            15732508551203376065 * backward_n +
            14787250802929663555 * backward_sum_us +
            14439213556762296885 * backward_ipdv_pairs +
            16508022743727087899 * backward_ipdv_abs_sum_us AS mark,
            0 AS version,
            0 AS told_mark
        FROM summary_10s FINAL
        WHERE slot >= toDateTime(%(from_s)s, 'UTC') AND slot < toDateTime(%(until_s)s, 'UTC')
        UNION ALL
        SELECT
            probe_id,
            stream_id,
            minute,
            0 AS slots,
            0 AS revision,
            0 AS received_ms,
            0 AS mark,
            version,
            13151770607971964795 * (planned + loaded_planned) +
            9267213806517364757 * (sent + loaded_sent) +
            17709737710725926211 * (received + loaded_received) +
            15735754687853522797 * (lost_forward + loaded_lost_forward) +
            1343316261385088033 * (lost_backward + loaded_lost_backward) +
            7019250098777723063 * (lost_unresolved + loaded_lost_unresolved) +
            15787575805681011001 * (late + loaded_late) +
            2013090415353213199 * (unreachable + loaded_unreachable) +
            1144140924214792333 * (send_failed + loaded_send_failed) +
            10695634336036460561 * (duplicate + loaded_duplicate) +
            12836499103843954575 * (reordered + loaded_reordered) +
            16290036904786380737 * (loss_runs + loaded_loss_runs) +
            6722511338893542467 * (rtt_n + loaded_rtt_n) +
            3906645173279848475 * (rtt_sum_us + loaded_rtt_sum_us) +
            12387880436486454943 * (rtt_ipdv_pairs + loaded_rtt_ipdv_pairs) +
            12461383722523559499 * (rtt_ipdv_abs_sum_us + loaded_rtt_ipdv_abs_sum_us) +
            12365236565709098625 * (forward_n + loaded_forward_n) +
            17663473477216507017 * (forward_sum_us + loaded_forward_sum_us) +
            2035856378898150773 * (forward_ipdv_pairs + loaded_forward_ipdv_pairs) +
            2163611478702767329 * (forward_ipdv_abs_sum_us + loaded_forward_ipdv_abs_sum_us) +
            15732508551203376065 * (backward_n + loaded_backward_n) +
            14787250802929663555 * (backward_sum_us + loaded_backward_sum_us) +
            14439213556762296885 * (backward_ipdv_pairs + loaded_backward_ipdv_pairs) +
            16508022743727087899 * (backward_ipdv_abs_sum_us + loaded_backward_ipdv_abs_sum_us) AS told_mark
        FROM kpi_1m FINAL
        WHERE minute >= toDateTime(%(from_s)s, 'UTC') AND minute < toDateTime(%(until_s)s, 'UTC')
    )
    GROUP BY probe_id, stream_id, minute
    HAVING kind != 'equal' AND max(received_ms) <= %(settled_ms)s
)
GROUP BY probe_id, minute, kind
ORDER BY probe_id, minute, kind
