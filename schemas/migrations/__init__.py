"""The migrations, as text: NNNN_name.sql, applied in order, forward only."""
