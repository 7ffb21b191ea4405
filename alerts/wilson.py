"""The Wilson interval of a share: honest for few packets and for none lost."""

import math
from typing import Final

Z_95: Final = 1.959964  # two-sided 95 %


def wilson(lost: int, sent: int, z: float = Z_95) -> tuple[float, float]:
    """Return the lower and upper bound of the share lost; (0.0, 1.0) when nothing was sent."""
    if sent == 0:
        return 0.0, 1.0
    share, z2 = lost / sent, z * z
    centre = (share + z2 / (2 * sent)) / (1 + z2 / sent)
    half = z / (1 + z2 / sent) * math.sqrt(share * (1 - share) / sent + z2 / (4 * sent * sent))
    return max(0.0, centre - half) if lost > 0 else 0.0, min(1.0, centre + half)
