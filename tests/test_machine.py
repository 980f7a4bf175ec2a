"""What a container leaves of a machine, from files as cgroups of both versions have them."""

import os
from pathlib import Path

import pytest

from skilljobs import machine


def write(folder: Path, **contents: str) -> None:
    for name, text in contents.items():
        file = folder / name.replace("__", "/").replace("_DOT_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="ascii")


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.usefixtures("cgroups")
def test_without_limits_it_is_the_machine() -> None:
    assert machine.available_cpus() == 8
    assert 0 < machine.free_memory() <= machine.total_memory()


def test_version_2(cgroups: Path) -> None:
    write(cgroups, cpu_DOT_max="250000 100000", memory_DOT_max="4096000", memory_DOT_current="1000000")
    assert (machine.available_cpus(), machine.total_memory(), machine.free_memory()) == (2, 4096000, 3096000)
    write(cgroups, memory_DOT_stat="anon 300000\ninactive_file 500000\nactive_file 1")
    assert machine.free_memory() == 3596000
    write(cgroups, cpu_DOT_max="50000 100000", memory_DOT_current="5000000")
    assert (machine.available_cpus(), machine.free_memory()) == (1, 0)
    write(cgroups, cpu_DOT_max="max 100000", memory_DOT_max="max")
    assert (machine.available_cpus(), machine.total_memory() > 4096000) == (8, True)


def test_version_1(cgroups: Path) -> None:
    write(cgroups, cpu__cpu_DOT_cfs_quota_us="400000", cpu__cpu_DOT_cfs_period_us="100000")
    write(cgroups, memory__memory_DOT_limit_in_bytes="4096000", memory__memory_DOT_usage_in_bytes="96000")
    assert (machine.available_cpus(), machine.total_memory(), machine.free_memory()) == (4, 4096000, 4000000)
    write(cgroups, memory__memory_DOT_stat="inactive_file 1\ntotal_inactive_file 50000")
    assert machine.free_memory() == 4050000
    write(cgroups, cpu__cpu_DOT_cfs_quota_us="-1", memory__memory_DOT_limit_in_bytes="9223372036854771712")
    assert (machine.available_cpus(), machine.total_memory() > 4096000) == (8, True)
