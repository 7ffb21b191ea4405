"""What happened, by name: everything that is not an answer is counted somewhere."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counters:
    """Totals since the engine was opened. Dictionaries count by cause."""

    sent: int = 0
    duplicates: int = 0
    send_failed: Counter[str] = field(default_factory=Counter)  # errno names; "stalled": this process was held up
    unreachable: Counter[str] = field(default_factory=Counter)  # icmplib's words
    ignored: Counter[str] = field(default_factory=Counter)  # packets and errors that are not ours or not readable
    kernel_tx: int = 0  # answered packets by the source of T1
    user_tx: int = 0
    kernel_rx: int = 0  # replies by the source of T4
    user_rx: int = 0
    follow_ups: int = 0  # T3 replaced by the reflector's kernel time
    stray_follow_ups: int = 0  # about a reply that did not come; harmless
    stray_stamps: int = 0  # transmit stamps that fit no packet
    implausible_delays: int = 0  # stamps in an order that cannot be; the delays are dropped
    clock_steps: int = 0
    skipped: int = 0  # departures missed in a stall so long that they were not even entered
