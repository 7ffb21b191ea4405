"""What the store's refusals mean: which may pass, which are a fault of the deployment, and the remedy of each (pure).

A fault of the store or of the deployment is never the fault of a row: who writes waits, sends the same again, and puts
nothing into quarantine for it.
"""

from collections.abc import Mapping
from typing import Final

from schemas.errors import StoreTransientError, UnavailableError

AWAY: Final = "away"
DEPLOYMENT: Final = "deployment"
UNKNOWN: Final = "unavailable"

# The engine's numbers for what may pass, by what a person would call it.
_CODES_OF: Final[Mapping[str, tuple[int, ...]]] = {
    AWAY: (3, 32, 198, 203, 204, 209, 210, 236, 279, 364, 394, 439, 519),
    "keeper away": (225, 999),
    "too few replicas": (285, 286, 319),
    "timeout": (159, 160),
    "busy": (202, 373, 425, 473, 745),
    "memory": (241,),
    "read-only": (242,),
    "disk full": (243,),
    "disk refuses": (74, 75),
    "object storage": (499,),
    "too many parts": (252, 692),
}
_CAUSE_OF: Final = {code: cause for cause, codes in _CODES_OF.items() for code in codes}
TRANSIENT_CODES: Final = frozenset(_CAUSE_OF)
# The engine's numbers for: no such table, column, database or setting, no right, wrong login. No row is to blame.
DEPLOYMENT_CODES: Final = frozenset((16, 47, 48, 60, 62, 81, 115, 164, 192, 193, 194, 390, 452, 497, 516))

REMEDIES: Final[Mapping[str, str]] = {
    AWAY: "start the store, or see whether the network leads to it",
    "keeper away": "see whether ClickHouse Keeper runs; the replica takes no insert without it",
    "too few replicas": "bring the replicas back; an insert waits for its quorum",
    "timeout": "see what else the store works on: system.processes, system.merges",
    "busy": "see what else the store works on: system.processes",
    "memory": "give the store more memory, or end the query that holds it: system.processes",
    "read-only": "see why the table is read-only: system.replicas, its Keeper, its disk",
    "disk full": "free or add space on the store's disk, or shorten the retention",
    "disk refuses": "see the store's disk: the kernel's log, the mount, the rights on it",
    "object storage": "see whether the store reaches its object storage",
    "too many parts": "let the merges catch up: system.merges, the disk's speed, other writers of small blocks",
    DEPLOYMENT: "apply the migrations with `isochrone up`, and give this login the right to write",
    UNKNOWN: "read the error; a worker of the version before may help",
}


class StorePausedError(StoreTransientError):
    """A store that may answer later; `cause` is a key of `REMEDIES`, which the text names the remedy of."""

    def __init__(self, text: str, cause: str) -> None:
        super().__init__(f"{text}; {REMEDIES[cause]}")
        self.cause = cause


class DeploymentError(UnavailableError):
    """The store has no such table, column or right: no row is to blame, and no restart mends it."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text}; {REMEDIES[DEPLOYMENT]}")


def paused(code: int, text: str) -> StorePausedError:
    """Return what a refusal with one of `TRANSIENT_CODES` means."""
    return StorePausedError(text, _CAUSE_OF[code])


def cause_of(error: BaseException) -> str:
    """Return a word for the counter and the log: a key of `REMEDIES`."""
    if isinstance(error, StorePausedError):
        return error.cause
    if isinstance(error, DeploymentError):
        return DEPLOYMENT
    return AWAY if isinstance(error, StoreTransientError) else UNKNOWN
