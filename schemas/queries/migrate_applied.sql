-- The migrations that this database has, with the checksum of the text that was applied.
SELECT number, checksum
FROM migration
ORDER BY number
