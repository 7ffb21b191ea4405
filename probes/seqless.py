"""A record encoded before its seq is known, packed: a few kB where the record itself takes megabytes."""

from collections.abc import Callable
from typing import Final

import zstandard

from schemas.codec import encode
from schemas.records import Record

_LEVEL: Final = 1


def pack_seqless(record_of: Callable[[int], Record]) -> Callable[[int], bytes]:
    """Return a function that gives, for any seq, the very bytes that encoding `record_of(seq)` gives.

    The name of the field with its quotes cannot stand inside a JSON string, so its first place is the field.
    """
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(encode(record_of(0)))

    def value_of(seq: int) -> bytes:
        return zstandard.ZstdDecompressor().decompress(packed).replace(b'"seq":0,', b'"seq":%d,' % seq, 1)

    return value_of
