"""The one door to Grafana: puts the boards into a Grafana that cannot read our files (a hosted one).

Where Grafana runs beside us, the files in `provisioning/` do it without any token.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import grafana_client
import msgspec
from grafana_client.client import GrafanaException
from niquests.exceptions import RequestException

from schemas.errors import ConfigError, UnavailableError

FOLDER_UID: Final = "isochrone"
BOARDS: Final = ("posture",)


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """One board as Grafana took it."""

    uid: str
    url: str
    version: int


def load_board(name: str) -> dict[str, Any]:
    """Return a board that ships, as its JSON."""
    text = files("dashboards.grafana").joinpath("boards", f"{name}.json").read_text(encoding="utf-8")
    board: dict[str, Any] = msgspec.json.decode(text)
    return board


def connect(url: str, token: str) -> Any:  # noqa: ANN401 - an untyped client; it stays in this module
    """Return a client of the Grafana at `url`, with a service account's token."""
    return grafana_client.GrafanaApi.from_url(url=url, credential=grafana_client.TokenAuth(token), timeout=10)


def sync(grafana: Any) -> list[Synced]:  # noqa: ANN401 - as above
    """Put the folder and every board there; the newer file wins over what is there.

    Raises:
        UnavailableError: Grafana does not answer.
        ConfigError: it refuses; the text says what.
    """
    try:
        _ensure_folder(grafana)
        return [_put(grafana, load_board(name)) for name in BOARDS]
    except GrafanaException as err:
        raise ConfigError(f"grafana refuses the boards: {err}; does the token belong to an editor?") from err
    except RequestException as err:
        raise UnavailableError(f"grafana does not answer: {err}; check grafana.url") from err


def _ensure_folder(grafana: Any) -> None:  # noqa: ANN401 - as above
    known = {folder["uid"] for folder in grafana.folder.get_all_folders()}
    if FOLDER_UID not in known:
        grafana.folder.create_folder("Isochrone", uid=FOLDER_UID)


def _put(grafana: Any, board: Mapping[str, Any]) -> Synced:  # noqa: ANN401 - as above
    answer = grafana.dashboard.update_dashboard({"dashboard": dict(board), "folderUid": FOLDER_UID, "overwrite": True})
    return Synced(uid=answer["uid"], url=answer["url"], version=answer["version"])
