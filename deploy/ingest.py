"""How far the tables are behind the probes: by the store what arrived, by Kafka what waits."""

from typing import Final

import msgspec

from deploy.place import Address
from deploy.topics_admin import group_lag
from streams.store import Store
from streams.worker_config import WorkerConfig

STALE_S: Final = 90  # nine slots: later than any batch on its way


class Ingest(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the way from the probes to the tables."""

    waiting: int | None  # messages in Kafka not yet stored; None when Kafka is not known or does not answer
    behind_s: int | None  # age of the newest slot stored; None when none was in a day
    quarantined: int  # messages refused in the last hour

    @property
    def is_stalled(self) -> bool:
        """Return whether nothing arrives in the tables."""
        return self.behind_s is None or self.behind_s > STALE_S


def ingest_of(store: Store, mesh: str, address: Address | None, *, now_s: int) -> Ingest:
    """Return the state of the ingest of a mesh.

    Raises:
        StoreTransientError: the store is away.
        StorePermanentError: it refuses the query.
    """
    (row,) = store.rows("page_pipeline", mesh=mesh)
    newest_s = int(row["newest_slot_s"] or 0)
    waiting = None if address is None else group_lag(address.bootstrap, WorkerConfig().group, address.access)
    return Ingest(
        waiting=waiting,
        behind_s=now_s - newest_s if newest_s > 0 else None,
        quarantined=int(row["quarantined"]),
    )


def ingest_line(ingest: Ingest) -> str:
    """Return the line for a person."""
    behind = "nothing stored in a day" if ingest.behind_s is None else f"newest slot {ingest.behind_s} s old"
    waiting = "kafka does not say what waits" if ingest.waiting is None else f"{ingest.waiting} messages wait"
    remedy = "; STALLED: see the worker's log and its exit code, then probes and broker" if ingest.is_stalled else ""
    return f"ingest: {behind}, {waiting}, {ingest.quarantined} refused in an hour{remedy}"
