"""Kafka and the ClickHouse engine on one machine."""
