-- Packets sent and planned of a mesh since from_s, by the newest revision of every slot.
SELECT
    sum(sent) AS packets_sent,
    sum(planned) AS packets_planned
FROM summary_10s_latest
WHERE mesh = %(mesh)s AND slot >= toDateTime(%(from_s)s, 'UTC')
