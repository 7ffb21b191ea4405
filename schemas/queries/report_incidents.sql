-- Incidents of the mesh that were open in [from_ms, until_ms), newest state each; drills are left out of every report.
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
    summary_en
FROM incident_latest
WHERE mesh = %(mesh)s AND exercise = %(exercise)s AND opened_ms < %(until_ms)s AND (resolved_ms = 0 OR resolved_ms >= %(from_ms)s)
ORDER BY opened_ms, incident_id
