-- The newest throughput test of each pair since from_s.
SELECT
    test_id,
    source,
    destination,
    method,
    start_ms,
    duration_ms,
    set_bps,
    sent_packets,
    received_packets,
    packet_bytes,
    receive_duration_us,
    outcome
FROM throughput_latest
WHERE mesh = %(mesh)s AND start >= toDateTime(%(from_s)s, 'UTC')
ORDER BY start_ms DESC
LIMIT 1 BY source, destination
LIMIT 50
