-- The hours and probes of [from_s, until_s), whole hours, of which a row in kpi_1h knows less than its minutes do.
SELECT DISTINCT toUnixTimestamp(m.hour) AS hour_s, m.probe_id AS probe_id
FROM
(
    SELECT stream_id, toStartOfHour(minute) AS hour, probe_id, sum(version) AS knowledge
    FROM kpi_1m FINAL
    WHERE minute >= toDateTime(%(from_s)s, 'UTC') AND minute < toDateTime(%(until_s)s, 'UTC')
    GROUP BY stream_id, hour, probe_id
) AS m
LEFT JOIN
(
    SELECT stream_id, hour, probe_id, max(version) AS version
    FROM kpi_1h
    WHERE hour >= toDateTime(%(from_s)s, 'UTC') AND hour < toDateTime(%(until_s)s, 'UTC')
    GROUP BY stream_id, hour, probe_id
) AS h ON h.stream_id = m.stream_id AND h.hour = m.hour AND h.probe_id = m.probe_id
WHERE h.version < bitOr(bitShiftLeft(toUInt64(%(rule)s), 52), m.knowledge)
ORDER BY hour_s, probe_id
