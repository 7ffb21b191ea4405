"""The wire's side of the control socket: a command in, an answer out."""

import random
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from deploy.lab.control import Adjust, Answer, Impair, Ledger, LinkState, Request, Snapshot, Stop
from deploy.lab.impair import Way
from deploy.lab.passage import Lane
from deploy.lab.topology import Direction, Impairment, Link, Topology
from schemas.clock import Clock
from schemas.errors import ConfigError

Pair = tuple[Lane, Lane]  # forward, backward


class Gauges(NamedTuple):
    """What the desk reads of the running wire."""

    in_flight: Callable[[], int]
    overrun: Callable[[], int]
    flush: Callable[[], None]
    realtime: bool


def lane_pairs(topology: Topology, ifindex: Callable[[str], int], seed: int) -> dict[str, Pair]:
    """Return the two lanes of every link; each has its own dice, so one link's traffic moves no other's."""

    def lane(number: int, link: Link, leg: int, impairment: Impairment, out: str) -> Lane:
        rng = random.Random(f"{seed}/{link.name}/{leg}")  # noqa: S311 - dice of a lab, to be thrown again alike
        return Lane((number, leg), Way(impairment, rng), ifindex(f"l{number}{out}"))

    return {
        link.name: (lane(number, link, 0, link.forward, "b"), lane(number, link, 1, link.backward, "a"))
        for number, link in enumerate(topology.links)
    }


def lanes_by_arrival(pairs: dict[str, Pair]) -> dict[int, Lane]:
    """Return each lane under the interface index where its frames arrive: the way out of the opposite lane."""
    lanes: dict[int, Lane] = {}
    for forward, backward in pairs.values():
        lanes[backward.out_ifindex], lanes[forward.out_ifindex] = forward, backward
    return lanes


class Desk:
    """Carries out commands on the lanes."""

    def __init__(self, pairs: dict[str, Pair], gauges: Gauges, clock: Clock) -> None:
        self._pairs = pairs
        self._gauges = gauges
        self._clock = clock
        self.stopped = False
        self.quiet_ns = quiet_ns(pairs)

    def handle(self, datagram: bytes) -> bytes:
        """Return the answer to one datagram; a bad command is answered, never raised."""
        try:
            request = msgspec.json.decode(datagram, type=Request)
        except msgspec.DecodeError as err:
            return msgspec.json.encode(Answer(id=-1, at_ns=self._clock.wall_ns(), error=f"not a command: {err}"))
        try:
            ledger = self._carry_out(request)
        except (ConfigError, msgspec.ValidationError) as err:
            return msgspec.json.encode(Answer(id=request.id, at_ns=self._clock.wall_ns(), error=str(err)))
        return msgspec.json.encode(Answer(id=request.id, at_ns=self._clock.wall_ns(), ledger=ledger))

    def _carry_out(self, request: Request) -> Ledger | None:
        ledger = self._do(request)
        self.quiet_ns = quiet_ns(self._pairs)
        return ledger

    def _do(self, request: Request) -> Ledger | None:
        match request.command:
            case Impair(link=name, direction=direction, impairment=impairment):
                for lane in self._lanes(name, direction):
                    lane.way.change(impairment)
            case Adjust(link=name, direction=direction, fields=fields):
                changes = [(lane, adjusted(lane.way.impairment, fields)) for lane in self._lanes(name, direction)]
                for lane, impairment in changes:
                    lane.way.change(impairment)
            case Snapshot():
                return self._ledger()
            case Stop():
                self._gauges.flush()
                self.stopped = True
        return None

    def _lanes(self, name: str, direction: Direction) -> tuple[Lane, ...]:
        if name not in self._pairs:
            raise ConfigError(f"no link {name}; the lab has {', '.join(self._pairs) or 'none'}")
        forward, backward = self._pairs[name]
        return {"forward": (forward,), "backward": (backward,), "both": (forward, backward)}[direction]

    def _ledger(self) -> Ledger:
        self._gauges.flush()
        return Ledger(
            links=tuple(
                LinkState(
                    name=name,
                    forward=forward.way.impairment,
                    backward=backward.way.impairment,
                    forward_counts=forward.counts,
                    backward_counts=backward.counts,
                )
                for name, (forward, backward) in self._pairs.items()
            ),
            in_flight=self._gauges.in_flight(),
            overrun=self._gauges.overrun(),
            realtime=self._gauges.realtime,
        )


def adjusted(impairment: Impairment, fields: dict[str, object]) -> Impairment:
    """Return an impairment with some fields changed; raises msgspec.ValidationError for a wrong name or value."""
    return msgspec.convert({**msgspec.to_builtins(impairment), **fields}, type=Impairment)


def quiet_ns(pairs: dict[str, Pair]) -> int:
    """Return how long the wire may sleep, with frames in flight, without being late for one that arrives meanwhile.

    A cut link delays nothing; four sigma of jitter are allowed for.
    """
    rules = [lane.way.impairment for pair in pairs.values() for lane in pair if not lane.way.impairment.cut]
    return min((rule.delay_us - 4 * rule.jitter_us for rule in rules), default=0) * 1000
