-- The hours since an instant of which any minute is known.
SELECT DISTINCT toUnixTimestamp(toStartOfHour(minute)) AS hour_s
FROM kpi_1m
WHERE minute >= toDateTime(%(from_s)s, 'UTC') AND (%(mesh)s = '' OR mesh = %(mesh)s)
ORDER BY hour_s
