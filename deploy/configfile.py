"""Read and write the configuration file of a part: TOML by people, JSON by the stack."""

from pathlib import Path
from typing import TypeVar

import msgspec

from schemas.config import load
from schemas.errors import ConfigError

T = TypeVar("T")


def read_config(path: Path, kind: type[T]) -> T:
    """Return the configuration of a .toml file, or of the .json that the stack wrote for one of its parts.

    Raises:
        ConfigError: it cannot be read, or says what it must not.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: cannot be read: {err}") from err
    if path.suffix != ".json":
        return load(text, kind, source=str(path))
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as err:
        raise ConfigError(f"{path}: {err}; it is written by the stack, start that again") from err


def write_config(path: Path, config: msgspec.Struct) -> Path:
    """Write a part's configuration, readable by its owner alone: it may hold a password."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(config)))
    return path
