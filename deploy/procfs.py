"""What /proc knows: who descends from whom, what they weigh, who holds a port. Linux only."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
_LISTEN = "0A"


def pss_bytes(pids: Iterable[int], proc: Path = PROC) -> int:
    """Return the proportional set size of `pids` and all their descendants, in bytes; those that ended weigh 0.

    Shared pages count once in the sum, so it is what the machine really gives.
    """
    return sum(_pss_bytes(pid, proc) for pid in with_descendants(pids, proc))


def with_descendants(pids: Iterable[int], proc: Path = PROC) -> set[int]:
    """Return `pids` and every process below them."""
    children = _children(proc)
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children[pid]
    return found


def port_holder(port: int, proc: Path = PROC) -> str | None:
    """Return `pid 123 (java)` for who listens on TCP `port`, or None when nobody is seen (another user's, perhaps)."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port, proc)}
    for pid in _pids(proc) if sockets else []:
        if _holds(pid, sockets, proc):
            return f"pid {pid} ({_text(proc / str(pid) / 'comm').strip() or 'ended'})"
    return None


def _children(proc: Path) -> defaultdict[int, list[int]]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid in _pids(proc):
        after_name = _text(proc / str(pid) / "stat").rpartition(")")[2].split()  # a name may hold spaces and brackets
        if after_name:
            children[int(after_name[1])].append(pid)
    return children


def _pss_bytes(pid: int, proc: Path) -> int:
    for line in _text(proc / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _listening_inodes(port: int, proc: Path) -> Iterable[str]:
    for table in ("tcp", "tcp6"):
        for line in _text(proc / "net" / table).splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _holds(pid: int, sockets: set[str], proc: Path) -> bool:
    try:
        return any(str(fd.readlink()) in sockets for fd in (proc / str(pid) / "fd").iterdir())
    except OSError:  # it ended, or it is another user's
        return False


def _pids(proc: Path) -> list[int]:
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process ended while we looked, or is not ours to read
        return ""
