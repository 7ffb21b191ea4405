"""A real `clickhouse` binary in place of chdb: the files it is given and the command that runs it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.embedded.clickhouse.engineconfig import GRANTS, MIB, SERVER, elements, profile
from deploy.embedded.clickhouse.logins import Login

READ_GRANTS: Final = "SELECT, SHOW, dictGet"
_FOLDERS: Final = {"path": "data", "tmp_path": "tmp", "user_files_path": "user_files", "format_schema_path": "schemas"}


def find_binary() -> Path | None:
    """Return the `clickhouse` (or `clickhouse-server`) on PATH, or None."""
    found = shutil.which("clickhouse") or shutil.which("clickhouse-server")
    return Path(found) if found is not None else None


def command(binary: Path, config: Path) -> tuple[str, ...]:
    """Return the command line of the server."""
    verb = ("server",) if binary.name == "clickhouse" else ()
    return (str(binary), *verb, f"--config-file={config}")


def write_files(directory: Path, port: int, logins: Sequence[Login], memory_mib: int) -> Path:
    """Write the configuration into `directory`, readable by its owner alone, and return the file to start with."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    users, config = directory / "users.xml", directory / "config.xml"
    for path, text in (
        (users, users_xml(logins, memory_mib * MIB)),
        (config, config_xml(directory, port, users, memory_mib * MIB)),
    ):
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    return config


def config_xml(directory: Path, port: int, users: Path, memory_bytes: int) -> str:
    """Return the server's configuration: loopback, the native port and no other, UTC, small pools."""
    folders = {name: f"{directory / folder}/" for name, folder in _FOLDERS.items()}
    settings = {"listen_host": "127.0.0.1", "tcp_port": str(port), "timezone": "UTC", **folders}
    caps = {**SERVER, "max_server_memory_usage": memory_bytes}
    return (
        "<clickhouse>\n<logger><level>warning</level><console>1</console></logger>\n"
        f"{elements(settings)}{elements(caps)}"
        f"<user_directories><users_xml>{elements({'path': str(users)})}</users_xml></user_directories>\n"
        "</clickhouse>\n"
    )


def users_xml(logins: Sequence[Login], memory_bytes: int) -> str:
    """Return the logins as the server wants them; a reader has the same jail as under chdb."""
    base = profile(memory_bytes)
    profiles = f"<default>\n{elements(base)}</default>\n<reader>\n{elements({**base, 'readonly': '2'})}</reader>\n"
    users = "".join(_user(each) for each in logins)
    return (
        f"<clickhouse>\n<profiles>\n{profiles}</profiles>\n<quotas><default/></quotas>\n"
        f"<users>\n{users}</users>\n</clickhouse>\n"
    )


def _user(login: Login) -> str:
    grants = READ_GRANTS if login.readonly else GRANTS
    return (
        f"<{login.name}>\n<password_sha256_hex>{login.sha256}</password_sha256_hex>\n"
        "<networks><ip>127.0.0.1</ip></networks>\n"
        f"<profile>{'reader' if login.readonly else 'default'}</profile>\n<quota>default</quota>\n"
        f"<grants><query>GRANT {grants} ON *.*</query></grants>\n</{login.name}>\n"
    )
