-- The mesh version in force at until_s: its hash, since when, in which time zone its days are counted.
SELECT
    version,
    toUnixTimestamp(valid_from) AS valid_from_s,
    timezone
FROM mesh_latest
WHERE mesh = %(mesh)s AND valid_from < toDateTime(%(until_s)s, 'UTC')
ORDER BY valid_from DESC
LIMIT 1
