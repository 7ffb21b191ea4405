-- The endpoints of one version of a mesh, with the names of their nodes.
SELECT
    e.endpoint AS endpoint,
    e.node AS node,
    e.carrier AS carrier,
    e.probe_id AS probe_id,
    n.name_zh AS name_zh,
    n.name_en AS name_en
FROM endpoint_latest AS e
LEFT JOIN node_latest AS n ON n.mesh = e.mesh AND n.version = e.version AND n.valid_from = e.valid_from AND n.node = e.node
WHERE e.mesh = %(mesh)s AND e.version = %(version)s AND e.valid_from = toDateTime(%(valid_from_s)s, 'UTC')
ORDER BY endpoint
