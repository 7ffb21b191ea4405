-- Incidents that began since an instant, in their present state, the newest first.
SELECT
    mesh,
    incident_id,
    revision,
    category,
    cause_kind,
    cause,
    state,
    opened_ms,
    updated_ms,
    resolved_ms,
    members,
    confidence,
    summary_zh,
    summary_en,
    evidence,
    rule_versions,
    exercise
FROM incident_latest
WHERE mesh = %(mesh)s AND opened_ms >= %(from_ms)s
ORDER BY opened_ms DESC, incident_id
LIMIT 500
