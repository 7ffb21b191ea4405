-- How far a tier is rolled up; no row before its first round.
SELECT max(until_ms) AS until_ms
FROM rollup_checkpoint
WHERE tier = %(tier)s AND mesh = %(mesh)s AND timezone = %(timezone)s AND rule = %(rule)s
HAVING count() > 0
