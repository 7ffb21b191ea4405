"""Asking for a stretch of the reserve again: what the broker lost is sent anew, with its seqs and bytes.

Works on the file beside a running agent: the records are marked, the publisher finds them and sends them in the backlog
lane. What the pipeline had already, it knows by the identity and counts once.
"""

from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from probes.spool_file import FILE_ERRORS, FILE_VERSION, connect_to_write, file_version
from schemas.errors import ConfigError, UnavailableError

_CHUNK: Final = 500  # records marked in one transaction, so that the agent waits for milliseconds
_MARK: Final = """
UPDATE record SET state = 2 WHERE id IN (
    SELECT record.id FROM record CROSS JOIN chain ON chain.id = record.chain
    WHERE state = 1 AND (:topic IS NULL OR topic = :topic) AND (:run IS NULL OR spool_id = :run)
        AND seq BETWEEN :first AND :last AND at_ms >= :from_ms AND at_ms < :until_ms
    ORDER BY record.id LIMIT :chunk
)
"""


class Stretch(NamedTuple):
    """Which records: all that match every part; times are those of spooling, [from, until) in UTC milliseconds."""

    topic: str | None = None
    run: str | None = None  # spool_id
    first: int = 0
    last: int = (1 << 63) - 1
    from_ms: int = 0
    until_ms: int = (1 << 63) - 1


def ask_again(path: Path, stretch: Stretch) -> int:
    """Mark what the reserve holds of the stretch as to be sent again, and return how many records that are.

    Raises:
        ConfigError: There is no spool there, or of another version.
        UnavailableError: The file cannot be written.
    """
    if not path.is_file():
        raise ConfigError(f"no spool at {path}; name the probe's own with --spool, or its configuration with --config")
    asked = stretch._asdict() | {"chunk": _CHUNK}
    marked = 0
    try:
        with closing(connect_to_write(path)) as db:
            if file_version(db) != FILE_VERSION:
                raise ConfigError(f"spool {path} is not of file version {FILE_VERSION}; start its agent once")
            while (found := db.execute(_MARK, asked).rowcount) > 0:
                marked += found
    except FILE_ERRORS as err:
        raise UnavailableError(f"spool {path}: {err}; run this as the user of the agent") from err
    return marked
