-- Incidents that are suspected or open now, network before infrastructure, the oldest first.
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
WHERE mesh = %(mesh)s AND state != 'resolved'
ORDER BY category DESC, opened_ms, incident_id
