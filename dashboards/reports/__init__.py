"""Assessment reports that can be recomputed."""
