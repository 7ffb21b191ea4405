-- The hours and probes of which a minute was written since an instant. No FINAL: a minute that was written again is
-- touched, whatever it says. Nothing that began before from_s can have been taken since then.
SELECT DISTINCT toUnixTimestamp(toStartOfHour(minute)) AS hour_s, probe_id
FROM kpi_1m
WHERE written_ms >= %(since_ms)s AND minute >= toDateTime(%(from_s)s, 'UTC') AND (%(mesh)s = '' OR mesh = %(mesh)s)
ORDER BY hour_s, probe_id
