"""Whom a reflector may answer, and how often: so that it cannot be used against anybody."""

import ipaddress
from collections import Counter
from typing import Final

from schemas.errors import ConfigError

_SECOND_NS: Final = 1_000_000_000
_MAX_KNOWN: Final = 65_536  # addresses whose verdict is remembered


class Limits:
    """Packets answered in the current second, in all and by source."""

    def __init__(self, per_source: int, total: int) -> None:
        self._per_source = per_source
        self._total = total
        self._second = -1
        self._answered = 0
        self._by_source: Counter[bytes] = Counter()

    def allow(self, source: bytes, mono_ns: int) -> bool:
        """Return whether one more packet to `source` stays within both limits, and count it if so."""
        second = mono_ns // _SECOND_NS
        if second != self._second:
            self._second, self._answered = second, 0
            self._by_source.clear()
        if self._answered >= self._total or self._by_source[source] >= self._per_source:
            return False
        self._answered += 1
        self._by_source[source] += 1
        return True


class Allowed:
    """Which peers may be answered; remembers its verdicts, because asking a prefix list costs more than a reply."""

    def __init__(self, allow: tuple[str, ...]) -> None:
        try:
            self._networks = [ipaddress.ip_network(entry) for entry in allow]
        except ValueError as err:
            raise ConfigError(f"reflector allow: {err}; give addresses or prefixes such as 10.0.0.0/24") from err
        self._known: dict[bytes, bool] = {}

    def __contains__(self, packed: bytes) -> bool:
        """Return whether the peer with this packed address is on the list."""
        known = self._known.get(packed)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            address = ipaddress.ip_address(packed)
            known = any(address in network for network in self._networks)
            self._known[packed] = known
        return known
