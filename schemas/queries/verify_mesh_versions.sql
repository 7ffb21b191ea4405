-- The versions of every mesh, without their text; the last one before an instant is in force at it.
SELECT mesh, version, toUnixTimestamp(valid_from) AS valid_from_s
FROM mesh_latest
ORDER BY mesh, valid_from, version
