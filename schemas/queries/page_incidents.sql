-- Open incidents, and those that ended since from_ms: newest state each, newest first; drills are marked.
SELECT
    incident_id,
    category,
    cause_kind,
    cause,
    state,
    opened_ms,
    resolved_ms,
    length(members) AS member_count,
    confidence,
    summary_zh,
    summary_en,
    exercise
FROM incident_latest
WHERE mesh = %(mesh)s AND (resolved_ms = 0 OR resolved_ms >= %(from_ms)s)
ORDER BY opened_ms DESC, incident_id
LIMIT 100
