-- One refused message with its bytes, in hexadecimal so that what is not text survives; streams of it make several rows.
SELECT
    topic,
    partition,
    offset,
    received_ms,
    reason,
    detail,
    claimed_probe,
    claimed_spool,
    claimed_seq,
    signed,
    stream_id,
    hex(message_key) AS key_hex,
    hex(value) AS value_hex,
    arrayMap(name -> hex(name), mapKeys(headers)) AS header_names_hex,
    arrayMap(text -> hex(text), mapValues(headers)) AS header_values_hex
FROM quarantine_latest
WHERE topic = %(topic)s AND partition = %(partition)s AND offset = %(offset)s
ORDER BY stream_id
