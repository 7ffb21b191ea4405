"""The failures that cross a boundary, each with the remedy in its text.

IsochroneError
├── ConfigError        a file or setting that a person can mend
│   └── MeshError      the mesh file breaks one of its rules
├── WireError          bytes that are not what they claim; `reason` is one of `QuarantineReason`
├── StoreTransientError     the store may answer later: keep, retry
├── StorePermanentError     the store will never take this block: bisect
└── UnavailableError        a part that must run does not: says which, since when, what to do
"""

from typing import Literal

QuarantineReason = Literal[
    "envelope",
    "signature",
    "unknown_key",
    "key_mismatch",
    "schema",
    "bounds",
    "clock",
    "too_late",
    "not_member",
    "foreign_endpoint",
    "flood",
    "internal_error",
    "refused_by_store",
]


class IsochroneError(Exception):
    """Base of all errors that a command prints as one line instead of a traceback."""


class ConfigError(IsochroneError):
    """A file or a setting is wrong; the text names it, the rule and the remedy."""


class MeshError(ConfigError):
    """A mesh file breaks a rule; the text names file, table and remedy."""


class WireError(IsochroneError):
    """A message that cannot be accepted; it goes to quarantine under `reason`."""

    def __init__(self, reason: QuarantineReason, text: str) -> None:
        super().__init__(text)
        self.reason: QuarantineReason = reason


class StoreTransientError(IsochroneError):
    """The store is away, busy or full; the same block is retried until it answers."""


class StorePermanentError(IsochroneError):
    """The store refuses this block for what it holds; a retry cannot help."""


class UnavailableError(IsochroneError):
    """A part did not become ready by its deadline; the text says which and what was waited for."""
