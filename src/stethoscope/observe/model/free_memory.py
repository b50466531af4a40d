"""How much memory is free on a device, as far as the system says."""

from __future__ import annotations

from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
OWN_GROUP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int | None:
    """Bytes that a process may still take on a device; None where that is not known.

    On an accelerator of NVIDIA's or AMD's it is what its driver says, with what torch holds in reserve; on a Linux
    machine what is available there, or within the limit of a container where that is less.
    """
    if device.type == "cuda" and torch.cuda.is_available():
        in_reserve = int(torch.cuda.memory_reserved(device)) - int(torch.cuda.memory_allocated(device))
        return int(torch.cuda.mem_get_info(device)[0]) + in_reserve
    if device.type != "cpu":
        return None
    known = [size for size in (_available(), _left_in_groups()) if size is not None]
    return min(known, default=None)


def _available() -> int | None:
    """What Linux believes can be given to programs without swapping."""
    try:
        lines = MEMINFO.read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _left_in_groups() -> int | None:
    """The least that is left in this process's control group and those that it is in; None without any limit."""
    left: list[int] = []
    for folder, limit, usage, cache in _folders():
        most, used = _number(folder / limit), _number(folder / usage)
        if most is not None and used is not None and most < 1 << 60:  # version 1 writes a huge number for no limit
            left.append(max(0, most - used + _cache(folder, cache)))
    return min(left, default=None)


def _folders() -> list[tuple[Path, str, str, str]]:
    """Folders of control groups, with their files for the limit and the usage, and the word for cached files."""
    try:
        lines = OWN_GROUP.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            root, files = GROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root, files = GROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = root / path.lstrip("/")
        found += [(each, *files) for each in (own, *own.parents) if each == root or root in each.parents]
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text("ascii").strip())
    except (OSError, ValueError):  # missing, or `max`
        return None


def _cache(folder: Path, word: str) -> int:
    """Bytes of files that are kept in memory and given up when it is needed."""
    try:
        lines = (folder / "memory.stat").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [word]), 0)
