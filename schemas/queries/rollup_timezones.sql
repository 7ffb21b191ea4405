-- Every timezone that a version of a mesh ever had.
SELECT DISTINCT mesh, timezone
FROM mesh_latest
ORDER BY mesh, timezone
