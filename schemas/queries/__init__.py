"""The named queries, as text: one file a query, parameters as %(name)s."""
