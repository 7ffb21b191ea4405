-- The ranges of seq that the named spools ever declared dropped.
SELECT DISTINCT probe_id, spool, topic, first, last
FROM probe_health
ARRAY JOIN dropped_spools AS spool, dropped_topics AS topic, dropped_from AS first, dropped_until AS last
WHERE spool IN %(spools)s
ORDER BY probe_id, spool, topic, first, last
