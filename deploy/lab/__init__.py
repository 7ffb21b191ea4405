"""Namespaces, a userspace wire and its ledger of truth."""
