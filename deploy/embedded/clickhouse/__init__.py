"""The embedded ClickHouse server: the chdb engine behind the native TCP protocol."""
