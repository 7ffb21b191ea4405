"""What hundreds of probes send, from a seed, with all that goes wrong there; and the file of what was produced.

The figures of a probe come from a few drafts; identity, slot, revision are each batch's own. Probes restart in a slot
(two spools), tell early and final revisions, never complete some slots, are late by hours and by days, drop what they
declare in a heartbeat, and some streams move to another probe in mid-minute under a second version of the mesh.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from support import wire_messages as wire
from support.meshes import streams_of
from support.produced import draft

from schemas.clock import floor_ms
from schemas.codec import decode, encode
from schemas.envelope import Signer
from schemas.mesh import Mesh, parse_mesh, with_probe_keys
from schemas.records import Heartbeat, Record, SpoolState, SummaryBatch
from schemas.topics import HEALTH, SUMMARY

SLOT_MS: Final = 10_000
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
OLDEST_MS: Final = 14 * DAY_MS - 3_600_000  # an hour within what is still taken
BEFORE_MS: Final = 15 * DAY_MS
DRAFTS: Final = 5
CARRIERS: Final = ("c0", "c1", "c2")
MANY: Final = 1_000_000
MOVED_EVERY: Final = 4  # of this many probes, one takes over the streams of an endpoint of the next


class Letter(NamedTuple):
    """A signed message, ready for its topic; `fate` is empty, or why it must be refused."""

    topic: str
    probe_id: str
    value: bytes
    headers: Sequence[tuple[str, bytes]]
    fate: str = ""


class Produced(msgspec.Struct, frozen=True):
    """A line of the produced file."""

    topic: str
    probe_id: str
    value: str


class Fleet:
    """Probes of a mesh in two versions: the second is in force from a minute on, and moves streams between probes."""

    def __init__(self, *, probes: int, peers: int, moves_at_ms: int) -> None:
        """Enrol a key for every probe.

        Args:
            probes: how many.
            peers: how many others each measures, in three carriers.
            moves_at_ms: a whole minute; half a minute later the new owners speak, as both versions then allow.
        """
        self.moves_at_ms = moves_at_ms
        self.before, self.after = (_mesh(probes, peers, moved=moved) for moved in (False, True))
        names = [probe.id for probe in self.before.probes]
        self.signers = {name: Signer(f"k{n}", (n + 1).to_bytes(32, "big")) for n, name in enumerate(names)}
        public = {name: [(by.key_id, by.public.hex())] for name, by in self.signers.items()}
        self.before, self.after = (with_probe_keys(mesh, public) for mesh in (self.before, self.after))
        self._streams = [streams_of(mesh) for mesh in (self.before, self.after)]

    @property
    def probes(self) -> list[str]:
        """Return the probes."""
        return list(self.signers)

    @property
    def moved(self) -> set[int]:
        """Return the streams that change hands."""
        first, second = ({s.id: s.probe_id for s in mesh.streams} for mesh in (self.before, self.after))
        return {stream_id for stream_id, probe_id in first.items() if second[stream_id] != probe_id}

    def streams(self, probe_id: str, slot_ms: int) -> tuple[int, ...]:
        """Return what a probe measures in a slot."""
        return self._streams[slot_ms >= self.moves_at_ms + MINUTE_MS // 2].get(probe_id, ())

    def version(self, slot_ms: int) -> str:
        """Return the version of the mesh that a batch names."""
        return (self.after if slot_ms >= self.moves_at_ms + MINUTE_MS // 2 else self.before).version

    def letter(self, record: Record, fate: str = "") -> Letter:
        """Return a record, signed by its probe."""
        topic = HEALTH.name if isinstance(record, Heartbeat) else SUMMARY.name
        return self.signed(topic, str(getattr(record, "probe_id", "")), encode(record), fate)

    def signed(self, topic: str, probe_id: str, value: bytes, fate: str = "") -> Letter:
        """Return any bytes, signed by a probe."""
        return Letter(topic, probe_id, value, self.signers[probe_id].sign(topic, value), fate)


def traffic(seed: int, fleet: Fleet, *, slots: int, end_ms: int) -> list[Record]:
    """Return what the probes produce in the `slots` slots before `end_ms`, in the order in which it is sent.

    One in ten is sent long after its neighbours; one slot in twenty is hours old, one in a hundred nearly 14 days.
    """
    made = list(_Made(seed, fleet).records(slots, floor_ms(end_ms, SLOT_MS)))
    chance = random.Random(f"order {seed}")  # noqa: S311 - the same again
    places = [n + (chance.randrange(len(made)) if chance.random() < 0.1 else 0) for n in range(len(made))]
    return [made[n] for n in sorted(range(len(made)), key=lambda n: (places[n], n))]


class _Made:
    """The probes at work: what each of their spools has numbered so far."""

    def __init__(self, seed: int, fleet: Fleet) -> None:
        self._chance = random.Random(f"traffic {seed}")  # noqa: S311 - the same again
        self._fleet = fleet
        self._late_ms = self._chance.randrange(1, 24) * 3_600_000
        self._drafts: dict[tuple[tuple[int, ...], int], SummaryBatch] = {}
        self._starts = dict.fromkeys(fleet.probes, 0)  # of the agent
        self._seqs: dict[tuple[str, str], int] = {}
        self._dropped: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def records(self, slots: int, end_ms: int) -> Iterator[Record]:
        for number in range(slots):
            for probe_id in self._fleet.probes:
                slot_ms = end_ms - (slots - number) * SLOT_MS
                yield from self._slot(probe_id, self._aged(slot_ms))
                if number == slots - 1:
                    yield self._heartbeat(probe_id, slot_ms)

    def _aged(self, slot_ms: int) -> int:
        roll = self._chance.random()
        return slot_ms - (OLDEST_MS if roll < 0.01 else self._late_ms if roll < 0.06 else 0)

    def _slot(self, probe_id: str, slot_ms: int) -> Iterator[SummaryBatch]:
        yield from self._revisions(probe_id, slot_ms)
        if self._chance.random() < 0.1:  # the agent starts again within the slot
            self._starts[probe_id] += 1
            yield from self._revisions(probe_id, slot_ms)

    def _revisions(self, probe_id: str, slot_ms: int) -> Iterator[SummaryBatch]:
        last = self._chance.choice((1, 1, 1, 1, 2, 3))
        completes = self._chance.random() < 0.9
        for revision in range(1, last + 1):
            seq = self._next_seq(probe_id)
            if self._chance.random() < 0.01:
                self._dropped.setdefault((probe_id, self._spool(probe_id)), []).append((seq, seq))
                continue
            streams = self._fleet.streams(probe_id, slot_ms)
            yield msgspec.structs.replace(
                self._draft(streams),
                mesh_version=self._fleet.version(slot_ms),
                probe_id=probe_id,
                spool_id=self._spool(probe_id),
                seq=seq,
                slot_start_ms=slot_ms,
                revision=revision,
                complete=completes and revision == last,
            )

    def _draft(self, streams: tuple[int, ...]) -> SummaryBatch:
        key = (streams, self._chance.randrange(DRAFTS))
        if key not in self._drafts:
            self._drafts[key] = draft(self._chance, streams, mesh=self._fleet.before.id)
        return self._drafts[key]

    def _heartbeat(self, probe_id: str, slot_ms: int) -> Heartbeat:
        known = sorted(spool for owner, spool in self._seqs if owner == probe_id)
        spools = [self._state(probe_id, spool) for spool in known]
        named: dict[str, Any] = {"mesh": self._fleet.before.id, "mesh_version": self._fleet.version(slot_ms)}
        named |= {"probe_id": probe_id, "spool_id": self._spool(probe_id), "spools": spools}
        return wire.heartbeat(sent_at_ms=slot_ms, started_at_ms=slot_ms - MINUTE_MS, **named)

    def _state(self, probe_id: str, spool_id: str) -> SpoolState:
        last = self._seqs[probe_id, spool_id] - 1
        dropped = self._dropped.get((probe_id, spool_id), [])
        return SpoolState(spool_id=spool_id, topic=SUMMARY.name, last_seq=last, acked_seq=last, dropped=dropped)

    def _spool(self, probe_id: str) -> str:
        number = int(probe_id.rpartition("n")[2])
        return f"01890a5d-{number:04x}-7000-8000-{self._starts[probe_id]:012x}"

    def _next_seq(self, probe_id: str) -> int:
        key = (probe_id, self._spool(probe_id))
        seq = self._seqs.get(key, 0)
        self._seqs[key] = seq + 1
        return seq


class ProducedFile:
    """What was produced, on disk, by probe: the oracle's only source."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._places: dict[str, list[int]] = {}

    def add(self, letter: Letter) -> None:
        """Keep a message that must be stored."""
        self._places.setdefault(letter.probe_id, []).append(self._file.seek(0, 2))
        line = Produced(letter.topic, letter.probe_id, letter.value.decode())
        self._file.write(msgspec.json.encode(line) + b"\n")

    @property
    def reader(self) -> "ProducedReader":
        """Return who reads what was added until now, in any process."""
        self._file.flush()
        return ProducedReader(Path(self._file.name), dict(self._places))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ProducedReader(NamedTuple):
    """The produced file to read: where the lines of each probe begin."""

    path: Path
    places: dict[str, list[int]]

    @property
    def probes(self) -> list[str]:
        """Return the probes that produced anything."""
        return sorted(self.places)

    def batches(self, probe_id: str) -> list[SummaryBatch]:
        """Return the batches of a probe, in the order in which they were produced."""
        found = []
        with self.path.open("rb") as file:
            for place in self.places.get(probe_id, []):
                file.seek(place)
                line = msgspec.json.decode(file.readline(), type=Produced)
                if line.topic == SUMMARY.name:
                    found.append(decode(line.value.encode(), SummaryBatch))
        return found


def _mesh(probes: int, peers: int, *, moved: bool) -> Mesh:
    pairs = [
        [f"n{number}/{carrier}", f"n{(number + step) % probes}/{carrier}"]
        for number in range(probes)
        for carrier in CARRIERS
        for step in range(1, peers + 1)
    ]
    tables: list[str] = [
        '[mesh]\nid = "fleet"\ndefaults = { probe = "node" }',
        f"limits = {{ packets_per_s = {MANY}, kbit_per_s = {MANY} }}",
        *(f'[[carrier]]\nid = "{name}"\n{_network(number)}' for number, name in enumerate(CARRIERS)),
        *(f'[[node]]\nid = "n{n}"\nkind = "cluster"\nn = {n + 1}\nlat = 30.0\nlon = 110.0' for n in range(probes)),
        f'[[group]]\nid = "all"\nkinds = ["cluster"]\ncarriers = {_toml(CARRIERS)}',
        f'[[stream_group]]\nid = "ring"\nshape = "pairs"\nboth_ways = false\npairs = {_toml(pairs)}',
        *(_mover(number) for number in range(0, probes - 1, MOVED_EVERY) if moved),
    ]
    return parse_mesh("\n".join(tables), source="fleet.toml")


def _network(number: int) -> str:
    return f'networks = [{{ id = "x{number}", as = {number + 1}, address = "10.{number}.{{n}}.1" }}]'


def _mover(number: int) -> str:
    own = [*(f"n{number}/{name}" for name in CARRIERS), f"n{number + 1}/{CARRIERS[0]}"]
    return f'[[probe]]\nid = "fleet/n{number}"\nendpoints = {_toml(own)}'


def _toml(value: object) -> str:
    return msgspec.json.encode(value).decode()
