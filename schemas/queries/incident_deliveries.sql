-- What became of each notice at each target since an instant.
SELECT
    incident_id,
    notice,
    target,
    max(attempt) AS attempts,
    max(at_ms) AS last_ms,
    max(outcome IN ('delivered', 'abandoned')) AS done
FROM delivery
WHERE at_ms >= %(from_ms)s
GROUP BY incident_id, notice, target
