"""What answers at the endpoints of a host: the STAMP reflector, and beside it the receiver of throughput tests."""

import threading
from collections.abc import Callable

import msgspec

from probes.receiver import ReceiverConfig, run_receiver
from probes.reflector import ReflectorConfig, run_reflector
from schemas.clock import Clock
from schemas.errors import UnavailableError

STOP_DEADLINE_S = 5.0


class ReflectorHost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both; a host that takes no throughput tests leaves the receiver out."""

    reflector: ReflectorConfig
    receiver: ReceiverConfig | None = None


def run_host(config: ReflectorHost, *, clock: Clock, stop: Callable[[], bool]) -> None:
    """Answer until `stop` says so.

    Raises:
        UnavailableError: a socket cannot be opened, or the receiver ended by itself.
    """
    if config.receiver is None:
        run_reflector(config.reflector, clock=clock, stop=stop)
        return
    receiver = _Receiver(config.receiver, clock, stop)
    receiver.start()
    run_reflector(config.reflector, clock=clock, stop=lambda: stop() or not receiver.is_alive())
    receiver.join(STOP_DEADLINE_S)
    if receiver.failure is not None:
        raise receiver.failure


class _Receiver(threading.Thread):
    """The receiver in a thread of its own: its packets wait for nobody else's."""

    def __init__(self, config: ReceiverConfig, clock: Clock, stop: Callable[[], bool]) -> None:
        super().__init__(name="receiver", daemon=True)
        self.failure: UnavailableError | None = None
        self._config = config
        self._clock = clock
        self._is_over = stop

    def run(self) -> None:
        try:
            run_receiver(self._config, clock=self._clock, stop=self._is_over)
        except UnavailableError as err:
            self.failure = err
