"""One template environment for page and report: escaped, strict, and with the same words for a number everywhere."""

from collections.abc import Callable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import jinja2

DASH: Final = "–"  # not known; never a zero


def environment(package: str, timezone: str) -> jinja2.Environment:
    """Return an environment over `package`/templates; instants are shown in `timezone`."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"ms": _ms, "percent": _percent, "interval": _interval, "local": _local(timezone)}
    return made


def _ms(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{value * 100:.4g} %"


def _interval(value: tuple[float, float] | None) -> str:
    return DASH if value is None else f"{value[0] * 100:.3g} … {value[1] * 100:.3g} %"


def _local(timezone: str) -> Callable[[int], str]:
    zone = ZoneInfo(timezone)
    return lambda at_ms: datetime.fromtimestamp(at_ms / 1000, zone).strftime("%Y-%m-%d %H:%M:%S")
