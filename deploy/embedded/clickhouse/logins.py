"""The logins of the embedded server, from a TOML file."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from schemas import config
from schemas.errors import ConfigError

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


class Login(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One login; either `password` or `password_sha256` (lower-case hex) is given."""

    name: str
    password: str | None = None
    password_sha256: str | None = None
    readonly: bool = False

    @property
    def sha256(self) -> str:
        """The hash that a client's password must have."""
        return self.password_sha256 or hashlib.sha256((self.password or "").encode()).hexdigest()


class Logins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: `[[login]]` tables."""

    login: tuple[Login, ...]


def load_logins(path: Path) -> tuple[Login, ...]:
    """Read a users file.

    Raises:
        ConfigError: not there, not readable, or it breaks a rule; the text names the file and the remedy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: cannot be read: {err}; write the logins there") from err
    logins = config.load(text, Logins, source=str(path)).login
    for fault in _faults(logins):
        raise ConfigError(f"{path}: {fault}")
    return logins


def write_logins(path: Path, logins: Sequence[Login]) -> None:
    """Write a users file that only its owner can read; passwords leave as hashes."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text("".join(_table(each) for each in logins), encoding="utf-8")


def find_login(logins: Sequence[Login], name: str, password: str) -> Login | None:
    """Return the login that fits, or None; as slow for an unknown name as for a wrong password."""
    given = hashlib.sha256(password.encode()).hexdigest()
    login = next((each for each in logins if each.name == name), None)
    expected = login.sha256 if login is not None else "0" * 64
    return login if hmac.compare_digest(given, expected) else None


def _faults(logins: Sequence[Login]) -> list[str]:
    names = [each.name for each in logins]
    faults = [f"login `{name}` is named twice; keep one" for name in sorted(set(names)) if names.count(name) > 1]
    if not logins:
        faults.append("no [[login]]; nobody could come in")
    for each in logins:
        if not _NAME.fullmatch(each.name):
            faults.append(f"login `{each.name}`: a name is letters, digits, _ . - and begins with a letter")
        if (each.password is None) == (each.password_sha256 is None):
            faults.append(f"login `{each.name}`: give either `password` or `password_sha256`")
        if each.password_sha256 is not None and not _SHA256.fullmatch(each.password_sha256):
            faults.append(f"login `{each.name}`: `password_sha256` is 64 lower-case hexadecimal digits")
    return faults


def _table(login: Login) -> str:
    readonly = "true" if login.readonly else "false"
    return f'[[login]]\nname = "{login.name}"\npassword_sha256 = "{login.sha256}"\nreadonly = {readonly}\n\n'
