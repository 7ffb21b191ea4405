"""Judge, converge and deliver."""
