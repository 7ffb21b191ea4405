"""The skip policy: a service that is missing is a skip on a laptop and a failure where the whole is proved."""

import os

import pytest

REQUIRE = "ISOCHRONE_REQUIRE_SERVICES"


def require(name: str, available: bool, remedy: str) -> None:
    """Go on when `name` is available; else skip, or fail when ISOCHRONE_REQUIRE_SERVICES=1."""
    if available:
        return
    text = f"{name} is not available here: {remedy}"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{text} ({REQUIRE}=1: a skipped check must not look like a passed one)", pytrace=False)
    pytest.skip(text)
