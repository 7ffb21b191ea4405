-- The present revision of every incident that is not resolved, and of those resolved since an instant.
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
WHERE mesh = %(mesh)s AND (state != 'resolved' OR resolved_ms >= %(resolved_from_ms)s)
ORDER BY opened_ms, incident_id
