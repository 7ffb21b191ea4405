-- The canonical text of one version of a mesh: probes, keys, endpoints and streams follow from it.
SELECT canonical
FROM mesh_latest
WHERE mesh = %(mesh)s AND version = %(version)s
LIMIT 1
