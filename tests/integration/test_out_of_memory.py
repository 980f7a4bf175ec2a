"""A machine without memory, on which Ray kills the scorers: its watch is set so that any memory is too much."""

from pathlib import Path

import pytest

from tests.integration.machines import run_command

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_scorers_that_are_killed_for_want_of_memory_end_the_job_with_advice(tmp_path: Path) -> None:
    done = run_command(
        ["submit", "--task", "arithmetic", "--soft-prompt", "random", "--limit", "60", "--null", "1", "--no-report",
         "--replicas", "1", "--out", str(tmp_path)],
        RAY_memory_usage_threshold="0.001",
        RAY_min_memory_free_bytes="-1",
        RAY_memory_monitor_refresh_ms="100",
        RAY_ADDRESS=None,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "scorer-0 died (its machine ran out of memory: use fewer scorers (--replicas)" in done.stderr
    assert "skilljobs: 3 scorers died, the last one: its machine ran out of memory" in done.stderr
    assert "Traceback" not in done.stderr
