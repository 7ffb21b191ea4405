"""What an operator says of a stack: one TOML file, every key with a default, and the state folder it lives in."""

from pathlib import Path
from typing import Annotated

import msgspec

from deploy.configfile import read_config
from schemas.kafka_access import KafkaAccess
from schemas.tables import Profile

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The broker: an address makes it somebody else's, else the embedded one listens on these ports."""

    access: KafkaAccess = KafkaAccess()  # how to prove to somebody else's who we are
    bootstrap: str = ""
    port: Port = 19092
    controller_port: Port = 19093


class ClickHouseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The store: a url (clickhouse://user:password@host:port/database) makes it somebody else's."""

    url: str = ""
    port: Port = 19000
    memory_mib: Annotated[int, msgspec.Meta(ge=256)] = 1024  # what the embedded engine may use


class PageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The posture page."""

    port: Port = 8642
    language: str = "zh"


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told, and by which rules."""

    webhook: str = ""  # empty: the console and the page only
    policy: str = "default"  # a policy that ships, or the path of a file
    exercise: bool = False  # a drill: every verdict, incident and message says so


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stack on one machine."""

    profile: Profile = "embedded"
    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    page: PageSettings = PageSettings()
    alerts: AlertSettings = AlertSettings()


def read_settings(path: Path | None) -> Settings:
    """Return the settings of a file, or the defaults where none is given."""
    return Settings() if path is None else read_config(path, Settings)
