"""The ledger of truth: what the wire did to every test packet, and how many frames met which fate on each link."""

import enum
import os
import struct
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

RECORDS_FILE: Final = "crossings.bin"


class Fate(enum.IntEnum):
    """What became of a frame on one crossing of a link."""

    FORWARDED = 0
    LOST = 1  # by the loss ratio or a burst
    QUEUE = 2  # no room behind the rate
    DOWN = 3  # the link was cut when it arrived, or its far interface refused it
    DUPLICATED = 4  # the copy of a forwarded frame, itself forwarded
    ABANDONED = 5  # the wire was stopped with it in flight


DROPPED: Final = (Fate.LOST, Fate.QUEUE, Fate.DOWN, Fate.ABANDONED)

RECORD: Final = np.dtype(
    [
        ("token", "<u8"),
        ("index", "<u8"),
        ("arrival_ns", "<i8"),  # kernel stamp, wall clock
        ("delay_ns", "<i8"),  # decided by the impairment; 0 for a dropped packet
        ("lateness_ns", "<i8"),  # real release minus (arrival + delay); what the wire added by itself
        ("link", "<u2"),  # place of the link in the topology
        ("leg", "<u1"),  # 0 = a to b, 1 = b to a
        ("reply", "<u1"),  # 0 = request, 1 = reply of the reflector
        ("fate", "<u1"),  # Fate
    ]
)
Records = NDArray[Any]  # of dtype RECORD, in the order of writing
_PACKED: Final = struct.Struct("<QQqqqHBBB")


class Counts(msgspec.Struct):
    """Frames on one direction of one link, of every kind, since the lab came up.

    entered + duplicated = left + lost + queue_drop + down_drop + abandoned + those in flight.
    """

    entered: int = 0
    left: int = 0
    lost: int = 0
    queue_drop: int = 0
    down_drop: int = 0
    duplicated: int = 0
    reordered: int = 0  # left, but overtook; a part of `left`
    abandoned: int = 0

    def drop(self, fate: Fate) -> None:
        """Count one frame that ends here."""
        match fate:
            case Fate.LOST:
                self.lost += 1
            case Fate.QUEUE:
                self.queue_drop += 1
            case Fate.DOWN:
                self.down_drop += 1
            case _:
                self.abandoned += 1


class Recorder:
    """Packs records into a buffer and appends them to a file when told to."""

    def __init__(self, fd: int, room: int = 65_536) -> None:
        self._fd = fd
        self._buffer = bytearray(room * RECORD.itemsize)
        self._used_bytes = 0

    def add(
        self,
        mark: tuple[int, int, int],
        crossing: tuple[int, int],
        arrival_ns: int,
        delay_ns: int,
        lateness_ns: int,
        fate: int,
    ) -> None:
        """Note one crossing: mark is (token, index, reply), crossing is (link, leg)."""
        if self._used_bytes == len(self._buffer):
            self.flush()
        token, index, reply = mark
        link, leg = crossing
        _PACKED.pack_into(
            self._buffer, self._used_bytes, token, index, arrival_ns, delay_ns, lateness_ns, link, leg, reply, fate
        )
        self._used_bytes += RECORD.itemsize

    def flush(self) -> None:
        """Append what is held to the file; raises OSError when the disk refuses it."""
        rest = memoryview(self._buffer)[: self._used_bytes]
        while len(rest) > 0:
            rest = rest[os.write(self._fd, rest) :]
        self._used_bytes = 0


def read_records(path: Path) -> Records:
    """Read the whole records of a ledger file; a last record that is still being written is left out."""
    with path.open("rb") as file:
        whole = os.fstat(file.fileno()).st_size // RECORD.itemsize
        return np.fromfile(file, dtype=RECORD, count=whole)
