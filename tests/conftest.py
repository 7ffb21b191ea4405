"""Fixtures that several modules use, each in its own file under `support/`: made once a session, not once a module."""

pytest_plugins = ["support.broker", "support.engine", "support.stores"]
