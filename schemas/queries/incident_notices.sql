-- The revisions since an instant that ask for a notice, in the order in which they are to be told.
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
FROM incident
WHERE mesh = %(mesh)s AND updated_ms >= %(from_ms)s AND position(evidence, '"notice":') > 0
ORDER BY incident_id, revision
