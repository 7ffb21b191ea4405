"""The conversation with one client: hello, then a statement at a time, each answered or refused."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from deploy.embedded.clickhouse import packets
from deploy.embedded.clickhouse.answer import Answer, read_data, read_external
from deploy.embedded.clickhouse.channel import Channel
from deploy.embedded.clickhouse.columntypes import UnknownLayoutError
from deploy.embedded.clickhouse.engine import Engine, EngineSession
from deploy.embedded.clickhouse.faults import QUERY_WAS_CANCELLED, EngineFault
from deploy.embedded.clickhouse.logins import Login, find_login
from deploy.embedded.clickhouse.packets import Client, Hello, Query
from deploy.embedded.clickhouse.refusals import NOT_IMPLEMENTED, Refused
from deploy.embedded.clickhouse.statements import read_statement
from deploy.embedded.clickhouse.watch import Watch
from deploy.embedded.clickhouse.wire import Disconnected, ProtocolError

log = structlog.get_logger(__name__)

AUTHENTICATION_FAILED: Final = 516
HELLO_DEADLINE_S: Final = 10.0
IDLE_DEADLINE_S: Final = 3600.0
_NO_COMPRESSION: Final = "this server speaks uncompressed blocks only: connect with compression=False"
_NO_EXTERNAL: Final = "external tables are not available here: use a temporary table"


class Services(NamedTuple):
    """What all sessions share; `stopping` says that the server ends, and that no further statement is begun."""

    engine: Engine
    logins: Sequence[Login]
    watch: Watch
    stopping: Callable[[], bool]


class Session:
    """One client from its hello to its end; `tag` names its queries in the engine."""

    def __init__(self, channel: Channel, services: Services, tag: str) -> None:
        self._channel = channel
        self._engine = services.engine
        self._logins = services.logins
        self._watch = services.watch
        self._stopping = services.stopping
        self._tag = tag

    def serve(self) -> None:
        """Talk until the client leaves, breaks the protocol or is silent for too long."""
        try:
            self._converse()
        except Disconnected as err:
            if not err.clean:
                log.info("client left in the middle of a packet", tag=self._tag)
        except (ProtocolError, UnknownLayoutError) as err:
            log.warning("protocol error", tag=self._tag, error=str(err))
            self._say_goodbye(err.code if isinstance(err, ProtocolError) else NOT_IMPLEMENTED, str(err))
        except OSError as err:
            log.info("client lost", tag=self._tag, error=str(err))

    def _converse(self) -> None:
        opened = self._open()
        if opened is None:
            return
        connection, login = opened
        try:
            while not self._stopping():
                self._answer(self._channel.next_packet(IDLE_DEADLINE_S), connection, login)
        finally:
            connection.close()

    def _open(self) -> tuple[EngineSession, Login] | None:
        """Say hello; return None when the client may not come in."""
        kind = self._channel.next_packet(HELLO_DEADLINE_S)
        if kind != Client.HELLO:
            raise ProtocolError(
                f"packet {kind} where hello was expected: this port speaks the native protocol, no HTTP"
            )
        hello = packets.read_hello(self._channel.reader)
        login = find_login(self._logins, hello.user, hello.password)
        if login is None:
            log.warning("login refused", user=hello.user[:64], tag=self._tag)
            self._refuse(AUTHENTICATION_FAILED, f"{hello.user}: Authentication failed: no such user or wrong password.")
            return None
        if hello.revision < packets.REVISION:
            self._refuse(NOT_IMPLEMENTED, f"a client of revision {packets.REVISION} or newer is needed")
            return None
        return self._enter(hello, login)

    def _enter(self, hello: Hello, login: Login) -> tuple[EngineSession, Login] | None:
        try:
            connection = self._engine.session(self._tag, readonly=login.readonly, database=hello.database)
        except EngineFault as err:
            self._refuse(err.code, str(err))
            return None
        self._channel.write(packets.server_hello(self._engine.version, "UTC", "isochrone embedded"))
        self._channel.flush()
        return connection, login

    def _answer(self, packet: int, connection: EngineSession, login: Login) -> None:
        if packet == Client.PING:
            self._channel.write(packets.PONG)
        elif packet == Client.QUERY:
            self._query(packets.read_query(self._channel.reader), connection, login)
        elif packet == Client.DATA:
            read_data(self._channel)  # the rest of a block that the last answer did not wait for
        elif packet != Client.CANCEL:
            raise ProtocolError(f"packet {packet} is not understood here")
        self._channel.flush()

    def _query(self, query: Query, connection: EngineSession, login: Login) -> None:
        if query.compressed:
            raise ProtocolError(_NO_COMPRESSION, NOT_IMPLEMENTED)
        external = read_external(self._channel)
        try:
            if not external:
                self._run(query, connection, login)
            else:
                self._refuse(NOT_IMPLEMENTED, _NO_EXTERNAL)
        except Refused as err:
            self._refuse(err.code, str(err))
        except UnknownLayoutError as err:
            self._refuse(NOT_IMPLEMENTED, str(err))
        except EngineFault as err:
            if err.code == QUERY_WAS_CANCELLED and self._watch.was_cancelled(self._tag):
                self._channel.write(packets.END_OF_STREAM)
            else:
                self._refuse(err.code, str(err))

    def _run(self, query: Query, connection: EngineSession, login: Login) -> None:
        statement = read_statement(query.sql, readonly=login.readonly)
        connection.apply(query.settings)
        Answer(self._channel, connection, self._watch, self._tag).give(statement)

    def _refuse(self, code: int, message: str) -> None:
        text = message if message.startswith("DB::Exception") else f"DB::Exception: {message}"
        self._channel.write(packets.exception(code, text))
        self._channel.flush()

    def _say_goodbye(self, code: int, message: str) -> None:
        with suppress(OSError):
            self._refuse(code, message)
