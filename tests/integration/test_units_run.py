"""Whole jobs that read something else than neurons."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file, save_file

import skilljobs
from skilljobs.analysis.comparing import compare
from skilljobs.errors import InputError
from tests.neurons.test_units import saelens
from tests.tables import random_rows, write_jsonl

pytestmark = pytest.mark.ray


def submit(model: Path, out: Path, units: str, **options: object) -> skilljobs.Run:
    data = write_jsonl(out / "table.jsonl", random_rows(60))
    common = {"soft_prompt": "random", "prompt_length": 2, "null": 1, "shard_size": 8, "run_id": "mine"}
    return skilljobs.submit(
        data=str(data),
        model=str(model),
        out=str(out),
        units=units,
        **{**common, **options},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("units", "counts"), [("heads", [2, 2]), ("residual", [16, 16])])
def test_a_job_reads_other_units(
    ray_here: Callable[[], None], small_llama: Path, tmp_path: Path, units: str, counts: list[int]
) -> None:
    run = submit(small_llama, tmp_path, units)
    assert [layer.count for layer in run.record.neurons] == counts
    assert run.record.spec["units"] == units
    assert pl.read_parquet(f"{run.uri}/metrics.parquet")["units"].unique().to_list() == [units]
    top = run.top("words", k=3)
    assert top["r"].count() == 3
    assert run.vocabulary().collect().is_empty() == (units == "heads")
    assert Path(run.uri, "report.html").is_file()
    if units == "residual":  # as wide as a layer has features
        features = submit(small_llama, tmp_path, f"sae:{saelens(tmp_path / 'sae', width=16)}", run_id="other")
        with pytest.raises(InputError, match="cannot be compared: they read residual and sae:"):
            compare(run, features, "words", "words", "all", 10)


def test_an_autoencoder_is_part_of_the_fingerprint(
    ray_here: Callable[[], None], small_llama: Path, tmp_path: Path
) -> None:
    folder = saelens(tmp_path / "sae", width=16)
    run = submit(small_llama, tmp_path, f"sae:{folder}", report=False)
    assert [(layer.layer, layer.count) for layer in run.record.neurons] == [(1, 20)]
    weights = load_file(folder / "sae_weights.safetensors")
    save_file({**weights, "b_enc": weights["b_enc"] + 1}, folder / "sae_weights.safetensors")
    with pytest.raises(InputError, match="units"):
        submit(small_llama, tmp_path, f"sae:{folder}", report=False)
    with pytest.raises(InputError, match="there is no autoencoder in"):
        submit(small_llama, tmp_path, f"sae:{tmp_path}/nowhere", report=False, run_id="other")
