-- How fresh the facts are, and what was refused in the last hour.
SELECT
    (
        SELECT toUnixTimestamp(max(slot)) FROM summary_10s
        WHERE mesh = %(mesh)s AND slot >= now() - INTERVAL 1 DAY
    ) AS newest_slot_s,
    (
        SELECT max(judged_ms) FROM verdict
        WHERE mesh = %(mesh)s AND window_start >= now() - INTERVAL 1 DAY
    ) AS judged_ms,
    (
        SELECT count() FROM quarantine_latest
        WHERE received_ms >= toUnixTimestamp64Milli(now64(3)) - 3600000
    ) AS quarantined
