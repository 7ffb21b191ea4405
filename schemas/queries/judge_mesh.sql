-- The version of a mesh that is in force at an instant.
SELECT
    version,
    toUnixTimestamp(valid_from) AS valid_from_s,
    timezone,
    canonical
FROM mesh_latest
WHERE mesh = %(mesh)s AND valid_from <= toDateTime(%(at_s)s, 'UTC')
ORDER BY valid_from DESC
LIMIT 1
