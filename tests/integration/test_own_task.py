"""The README's own task, installed as a package and run by the command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def example() -> str:
    (source,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class Plurals" in block)
    return str(source)


def installed(folder: Path) -> Path:
    """What `pip install` of such a package leaves behind."""
    source = example()
    (points,) = re.findall(r"```toml\n\[project\.entry-points\.\"(.*?)\"\]\n(.*?)\n```", README, re.DOTALL)
    package, metadata = folder / "my_package", folder / "my_package-1.0.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").touch()
    (package / "tasks.py").write_text(source)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{points[0]}]\n{points[1].replace(chr(34), '')}\n")
    return folder


def test_the_example_is_short() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 32


@pytest.mark.slow
def test_it_runs_through_its_entry_point(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed(tmp_path / "site"))}
    program = [sys.executable, "-c", "from skilljobs.cli.main import main; main()"]
    said = subprocess.run([*program, "tasks"], env=environment, capture_output=True, text=True, check=True).stdout
    assert "English plurals: regular or not." in said
    done = subprocess.run(
        [*program, "submit", "--task", "plurals", "--soft-prompt", "random", "--out", str(tmp_path), "--no-report"],
        env=environment, capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    top = pl.read_parquet(f"{done.stdout.splitlines()[-1]}/top.parquet")
    assert {"regular", "letters", "ending=x"} <= set(top["metric"])
    assert "within:ending" in set(top["population"])
