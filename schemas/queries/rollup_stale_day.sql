-- The probes of a mesh of which a row of a local day, [from_s, until_s), knows less than its minutes do.
SELECT DISTINCT m.probe_id AS probe_id
FROM
(
    SELECT stream_id, probe_id, sum(version) AS knowledge
    FROM kpi_1m FINAL
    WHERE minute >= toDateTime(%(from_s)s, 'UTC') AND minute < toDateTime(%(until_s)s, 'UTC') AND mesh = %(mesh)s
    GROUP BY stream_id, probe_id
) AS m
LEFT JOIN
(
    SELECT stream_id, probe_id, max(version) AS version
    FROM kpi_1d
    WHERE timezone = %(timezone)s AND day = toDate(%(day)s)
    GROUP BY stream_id, probe_id
) AS d ON d.stream_id = m.stream_id AND d.probe_id = m.probe_id
WHERE d.version < bitOr(bitShiftLeft(toUInt64(%(rule)s), 52), m.knowledge)
ORDER BY probe_id
