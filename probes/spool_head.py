"""The first page of a SQLite file: without it nothing else can be read, and all of it can be made again.

Every spool of a version is made by the same statements, so its tables begin on the same pages, and the first page of an
empty one serves for a damaged one. Bytes as in "Database File Format" at sqlite.org, 1.3.
"""

from contextlib import closing
from pathlib import Path
from typing import Final

from probes.spool_file import FILE_ERRORS, FORMER_VERSION, check_tables, connect_to_read, file_version

_PAGE_COUNT: Final = slice(28, 32)
_PAGE_SIZE: Final = slice(16, 18)


def mend_head(path: Path, empty: bytes) -> None:
    """Give a file that is to be read for the last time a first page that can be read, and the length it tells.

    Args:
        path: The file, changed in place only where it is beyond reading.
        empty: The bytes of an empty file of the present version.
    """
    page_bytes = int.from_bytes(empty[_PAGE_SIZE], "big")
    size_bytes = path.stat().st_size
    if not _can_be_read(path):
        pages = max(-(-size_bytes // page_bytes), 1)
        first = empty[: _PAGE_COUNT.start] + pages.to_bytes(4, "big") + empty[_PAGE_COUNT.stop : page_bytes]
        with path.open("r+b") as file:
            file.write(first)
            file.truncate(pages * page_bytes)


def _can_be_read(path: Path) -> bool:
    try:
        with closing(connect_to_read(path)) as db:
            if file_version(db) != FORMER_VERSION:
                check_tables(db)
    except FILE_ERRORS:
        return False
    return True
