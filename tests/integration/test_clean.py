"""What a run keeps of its null metrics, and what it can do without its sums."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result
from polars.testing import assert_frame_equal

import skilljobs
from skilljobs.analysis.null_thresholds import NullThresholds
from skilljobs.analysis.watching import Watcher
from skilljobs.cli.clean import clean
from skilljobs.cli.runs import status
from skilljobs.cli.verify import verify
from skilljobs.errors import InputError
from skilljobs.plan.like_run import find_run
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.run import RunFiles
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def said(command: Any, *words: str) -> Result:
    return CliRunner().invoke(command, list(words), catch_exceptions=False)


def test_maxima_of_null_metrics_and_a_run_without_its_sums(tmp_path: Path, small_llama: Path) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", random_rows(150))
    spec: dict[str, Any] = {
        "data": data, "model": small_llama, "soft_prompt": "random", "prompt_length": 3, "by": "kind", "null": 3,
        "shard_size": 40, "out": tmp_path, "reporter": SilentReporter(), "report": False,
    }  # fmt: skip
    with_all = skilljobs.submit(**spec, run_id="with-all", keep_null=True)
    run = skilljobs.submit(**spec, run_id="mine")
    names = pl.col("metric").str.starts_with("null:")
    for table in ("correlations", "strongest"):
        kept, every = getattr(run, table)().collect(), getattr(with_all, table)().collect()
        assert every.filter(names).height > 0
        assert_frame_equal(kept, every.filter(~names), check_exact=True)
    maxima, other = run.null_maxima(), with_all.null_maxima()
    assert maxima is not None
    assert other is not None
    assert_frame_equal(maxima.collect(), other.collect(), check_exact=True)
    for metric in ("confidence", "level"):
        for population in run.layout().reported_populations:
            assert NullThresholds(run).of(metric, population) == NullThresholds(with_all).of(metric, population)
    assert len(with_all.top("null:1")) > 0
    with pytest.raises(InputError, match=r"'null:1' is a null metric, of which the run keeps the largest \|r\| alone"):
        run.top("null:1")
    with pytest.raises(InputError, match="--keep-null is for a new run"):
        skilljobs.submit(**spec, run_id="mine", keep_null=True)

    thresholds = NullThresholds(run).of("confidence", "within:kind"), NullThresholds(run).of("level")
    before = run.top("confidence", population="within:kind")
    Path(run.uri, "shards", "sums-00001.parquet").rename(tmp_path / "aside")
    damaged = said(verify, run.uri)
    assert damaged.exit_code == 1
    assert "scores-00001.parquet" in damaged.output
    (tmp_path / "aside").rename(Path(run.uri, "shards", "sums-00001.parquet"))

    assert "of sums dropped" in said(clean, run.uri, "--shards").output
    assert not list(Path(run.uri).glob("shards/sums-*"))
    again = skilljobs.open_run(run.uri)
    assert_frame_equal(again.top("confidence", population="within:kind"), before, check_exact=True)
    assert (NullThresholds(again).of("confidence", "within:kind"), NullThresholds(again).of("level")) == thresholds
    assert again.scores().collect().height == sum(again.record.shards)
    gone = "`skilljobs clean --shards` dropped its sums"
    for needs_them in (
        again.sums,
        lambda: again.top("confidence", given=["words"]),
        lambda: NullThresholds(again).of("confidence", given=["words"]),
        lambda: Watcher(again, [], 3).update(),
        lambda: find_run(run.uri),
    ):
        with pytest.raises(InputError, match=gone):
            needs_them()
    for command in (status, verify):
        shown = said(command, run.uri)
        assert shown.exit_code == 0
        assert gone in shown.output
    assert skilljobs.submit(**spec, run_id="mine", verify=True).status == "complete"
    Path(run.uri, "top.parquet").unlink()
    with pytest.raises(InputError, match=r"top.parquet is damaged or missing, and what was read with it"):
        skilljobs.submit(**spec, run_id="mine")
    Path(run.uri, "shards", "moments-00001.parquet").unlink()
    assert said(verify, run.uri).exit_code == 1


def test_a_run_that_needs_its_sums_keeps_them(tmp_path: Path) -> None:
    from tests.store.test_record import record

    RunFiles(str(tmp_path)).save(record())
    with pytest.raises(InputError, match=r"is not complete .*, and its sums are needed"):
        said(clean, str(tmp_path), "--shards")
    with pytest.raises(InputError, match="say what to drop"):
        said(clean, str(tmp_path))
