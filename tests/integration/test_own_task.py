"""The own task of docs/tasks.md, installed as a package and run by the command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from skilljobs.cli.option_params import given_options
from skilljobs.cli.submit import submit
from skilljobs.errors import InputError
from skilljobs.pipeline.opening import planned_fields
from skilljobs.plan.data_options import command_of, resolve_spec
from skilljobs.plan.job_plan import plan_job
from skilljobs.spec import JobSpec

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def example(task: str = "Plurals") -> str:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (source,) = (block for block in blocks if f"class {task}(" in block)
    return str(source)


def installed(folder: Path) -> Path:
    """What `pip install` of such a package leaves behind."""
    source = example()
    (points,) = re.findall(r"```toml\n\[project\.entry-points\.\"(.*?)\"\]\n(.*?)\n```", PAGE, re.DOTALL)
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


def test_its_options_are_options_of_every_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = installed(tmp_path / "site")
    with (site / "my_package" / "tasks.py").open("a") as file:
        file.write("\n\n" + example("Counting"))
    with (site / "my_package-1.0.dist-info" / "entry_points.txt").open("a") as file:
        file.write("counting = my_package.tasks:Counting\n")
    monkeypatch.syspath_prepend(str(site))
    shown = CliRunner().invoke(submit, ["--help"]).output
    options = shown.partition("Options of --task counting:")[2].partition("\n\n")[0]
    assert re.search(r"--largest N +The largest count\.  \[default: 21\]", options)

    words = ["--task", "counting", "--largest", "9"]
    context = submit.make_context("submit", list(words))
    spec, _ = resolve_spec(JobSpec.from_values(given_options(context.params, context)))
    assert command_of(spec) == "skilljobs submit --task counting --model tiny --largest 9"
    assert spec.as_json()["largest"] == 9
    assert JobSpec.from_json(spec.as_json()) == spec
    plan = plan_job(spec)
    assert len(plan.train) + len(plan.validation) + len(plan.test) == 80
    assert planned_fields(plan)["largest"] == 9
    assert resolve_spec(JobSpec.from_values({"task": "counting", "largest": 21}))[0].own == {}
    with pytest.raises(InputError, match="--largest is 1; it must be at least 2"):
        resolve_spec(JobSpec.from_values({"task": "counting", "largest": 1}))
    with pytest.raises(InputError, match="--largest is not for the task arithmetic; it is an option of counting"):
        resolve_spec(JobSpec.from_values({"task": "arithmetic", "largest": 9}))


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
