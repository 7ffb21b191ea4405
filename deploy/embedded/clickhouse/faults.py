"""The engine's error texts -> the code and text that a client is told."""

import re
from typing import Final

UNKNOWN_EXCEPTION: Final = 1002
UNKNOWN_TABLE: Final = 60
QUERY_WAS_CANCELLED: Final = 394
_CODE: Final = re.compile(r"Code: (\d+)\. (.*)", re.DOTALL)
_VERSION: Final = re.compile(r" \(version [0-9.]+\)\s*$")
# In database `default` the engine takes an unknown table for a file, and then denies it.
_FILE_AS_TABLE: Final = "have the grant READ ON FILE"


class EngineFault(Exception):  # noqa: N818 - the engine's answer, told to the client
    """What the engine refused or failed; `code` is ClickHouse's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def fault_of(message: str) -> EngineFault:
    """Return the fault that a text of chdb means; code 1002 when it names none."""
    found = _CODE.search(message)
    if found is None:
        return EngineFault(UNKNOWN_EXCEPTION, f"DB::Exception: {message or 'the engine gave no reason'}")
    code, text = int(found[1]), _VERSION.sub("", found[2])
    if _FILE_AS_TABLE in text:
        return EngineFault(
            UNKNOWN_TABLE,
            "DB::Exception: Unknown table in database `default`; name the database of the table. (UNKNOWN_TABLE)",
        )
    return EngineFault(code, text)
