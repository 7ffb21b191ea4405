-- The newest version of a mesh, in force or announced.
SELECT
    version,
    toUnixTimestamp(valid_from) AS valid_from_s
FROM mesh_latest
WHERE mesh = %(mesh)s
ORDER BY valid_from DESC
LIMIT 1
