-- The slots of a window lie side by side: (minute, probe). By hours and streams, as before, whoever wanted a minute read
-- the columns of the whole hour, so that a fold at the end of an hour cost thirty times what it did at its beginning.
-- The copy is whole before the tables change places, and a start that was cut off begins it again. Workers stand still
-- meanwhile (`isochrone up` starts them afterwards); what one wrote all the same, `isochrone reconcile` names.
DROP TABLE IF EXISTS summary_10s_next;

CREATE TABLE summary_10s_next AS summary_10s
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toDate(slot)
ORDER BY (toStartOfMinute(slot), probe_id, stream_id, toSecond(slot), spool_id)
TTL slot + INTERVAL ${SUMMARY_DAYS} DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

INSERT INTO summary_10s_next SELECT * FROM summary_10s SETTINGS max_partitions_per_insert_block = 0;

EXCHANGE TABLES summary_10s AND summary_10s_next;

DROP TABLE summary_10s_next SETTINGS max_table_size_to_drop = 0;
