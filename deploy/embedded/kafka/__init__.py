"""The real Apache Kafka broker, one node, loopback only, as plain Java from jars that Maven fetched."""
