"""The CPUs and memory available to a process, within the limits of its container, and whether there are GPUs.

This module does not import torch.
"""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""The folder in which a container sees its own limits, for both versions of cgroups."""

DEVICES = Path("/dev")


def available_cpus() -> int:
    """Return the number of CPUs that this process may use, which is at least 1.

    It is limited by the CPU affinity of the process and by the whole CPUs in its container's quota.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = (*_words("cpu.max"), "", "")[:2]
    if not quota:
        quota, period = ((*_words(f"cpu/cpu.cfs_{name}_us"), "")[0] for name in ("quota", "period"))
    if quota.isdigit() and period.isdigit():
        allowed = min(allowed, int(quota) // int(period))
    return max(1, allowed)


def has_gpu_devices() -> bool:
    """Return whether there are device files of NVIDIA's or AMD's GPUs, which this process may be barred from using."""
    return any(DEVICES.glob("nvidia[0-9]*")) or (DEVICES / "kfd").exists()


def total_memory() -> int:
    """Return the memory of the machine in bytes, or the limit of the container if that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(physical, _bytes("memory.max", "memory/memory.limit_in_bytes") or physical)


def free_memory() -> int:
    """Return the bytes of memory that a process may still allocate.

    If the system does not report free memory, half of all memory is assumed to be free.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        free = total_memory() // 2
    limit = _bytes("memory.max", "memory/memory.limit_in_bytes")
    used = _bytes("memory.current", "memory/memory.usage_in_bytes")
    if limit is None or used is None:
        return free
    statistics = dict(zip(*[iter(_words("memory.stat") or _words("memory/memory.stat"))] * 2, strict=False))
    reclaimable = int(statistics.get("total_inactive_file") or statistics.get("inactive_file") or 0)
    # the kernel frees the cache of files that were read when a process needs the memory
    return max(0, min(free, limit - used + reclaimable))


def _bytes(*names: str) -> int | None:
    for name in names:
        words = _words(name)
        if words and words[0].isdigit():
            return int(words[0])
    return None


def _words(name: str) -> list[str]:
    try:
        return (CGROUPS / name).read_text(encoding="ascii").split()
    except OSError:
        return []
