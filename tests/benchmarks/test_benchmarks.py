"""The benchmarks run; what they measure is for people to read."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.benchmarks import statistics


@pytest.mark.slow
def test_statistics(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = CliRunner().invoke(statistics.main, ["--quick", "--json", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    figures = json.loads(file.read_text())
    assert figures["torchmetrics_over_skilljobs"] > 0
    assert all(row["skilljobs"] == "null" or float(row["skilljobs"]) < 1e-12 for row in figures["worst_errors"])
