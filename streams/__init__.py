"""Verify, fold and store."""
