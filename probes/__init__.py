"""Measure and summarise, on a host at the edge."""
