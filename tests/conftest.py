"""Fixtures that several modules use, each in its own file under `support/`: made once a process, not once a module."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["support.alone", "support.broker", "support.engine", "support.stores", "support.workers"]

# No test of ours is timed by the way, and two busy cores are slow now and then.
settings.register_profile("isochrone", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("isochrone")
