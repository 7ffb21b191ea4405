"""Compose and ship: the only place that knows all parts."""
