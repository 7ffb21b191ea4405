-- What happened to an incident and who was told, in order.
SELECT at_ms, kind, detail, exercise FROM incident_event
WHERE incident_id = %(incident_id)s
UNION ALL
SELECT at_ms, 'delivery' AS kind, concat(notice, ' to ', target, ': ', outcome, ' ', detail) AS detail, exercise FROM delivery
WHERE incident_id = %(incident_id)s
ORDER BY at_ms, kind
