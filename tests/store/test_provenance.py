"""What Parquet files say of the run that they are from."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pyarrow import parquet as pq

import skilljobs
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.provenance import LONGEST_SPEC, provenance, units_of, without_names
from skilljobs.store.record import ExampleCounts, Fingerprint, ModelFacts, RunRecord
from skilljobs.store.run import RunFiles
from skilljobs.store.schema import CORRELATIONS, METRICS, MOMENTS
from tests.tables import random_rows, write_jsonl

NAMES = {"skilljobs.run", "skilljobs.model"}
"""Not in a file whose digest is in the fingerprint, which does not depend on names."""
KEYS = {"skilljobs.run", "skilljobs.model", "skilljobs.reads", "skilljobs.spec", "skilljobs.units"}


@pytest.mark.ray
def test_every_file_of_a_run_says_whose_it_is_in_little_space(
    ray_here: object, tmp_path: Path, small_llama: Path
) -> None:
    data = write_jsonl(tmp_path / "table.jsonl", [row | {"loss": 1.5 * row["words"]} for row in random_rows(90)])
    options: dict[str, Any] = {"model": str(small_llama), "prompt_length": 2, "null": 1, "tune_steps": 2, "by": "kind",
                               "run_id": "mine", "tokens": "each", "report": False}  # fmt: skip
    run = skilljobs.submit(data=str(data), out=str(tmp_path / "runs"), reporter=SilentReporter(), **options)
    files = sorted(Path(run.uri).rglob("*.parquet"))
    kinds = {re.sub(r"-\d+", "", file.relative_to(run.uri).as_posix()).removesuffix(".parquet") for file in files}
    assert kinds == {
        "activations", "best", "correlations/layer", "examples/part", "metrics", "null_maxima", "prompt/examples",
        "prompt/tuning", "reference", "shards/moments", "shards/scores", "shards/sums", "top", "vocabulary",
    }  # fmt: skip
    first = pl.read_parquet_metadata(files[0])
    for file in files:
        found = pl.read_parquet_metadata(file)
        by_arrow = {key.decode(): value.decode() for key, value in (pq.read_metadata(file).metadata or {}).items()}
        keys = KEYS - NAMES if file.name == "reference.parquet" else KEYS
        assert {key for key in found if key.startswith("skilljobs.")} - {"skilljobs.receipt"} == keys, file
        assert {key: by_arrow[key] for key in keys} == {key: found[key] for key in keys}
        assert all(found[key] == first[key] for key in keys - {"skilljobs.units"})
        assert sum(len(key) + len(found[key]) for key in keys) < 2000
        own = by_arrow["ARROW:schema"]
        assert "skilljobs.run" not in own, "it is stored once"
        units = json.loads(found["skilljobs.units"])
        columns = pl.read_parquet_schema(file)
        assert all("*" in name or name in columns for name in units)
        assert ("examples" in file.as_posix()) == (not units), "the columns of examples are in the units of the user"
    assert (first["skilljobs.run"], first["skilljobs.model"], first["skilljobs.reads"]) == ("mine", "small", "neurons")
    spec = json.loads(first["skilljobs.spec"])
    assert spec["prompt_length"] == 2
    assert spec["by"] == ["kind"]
    assert spec["model_digest"] == run.record.fingerprint.fields["model_digest"]
    assert str(tmp_path) not in "".join(first[key] for key in KEYS), "no path: equal runs have equal files"

    options |= {"run_id": "other", "data": str(data)}
    other = skilljobs.submit(out=str(tmp_path / "runs"), reporter=SilentReporter(), **options)
    assert pl.read_parquet_metadata(Path(other.uri, "top.parquet"))["skilljobs.run"] == "other"
    assert other.record.fingerprint == run.record.fingerprint, "a fingerprint depends on no name"

    record = json.loads(Path(other.uri, "run.json").read_text())
    del record["provenance"], record["stages"]["reduce"]
    Path(other.uri, "run.json").write_text(json.dumps(record))
    skilljobs.submit(out=str(tmp_path / "runs"), reporter=SilentReporter(), **options)
    older = pl.read_parquet_metadata(Path(other.uri, "top.parquet"))
    assert not KEYS & older.keys(), "what is made again of an older run is what it was"


def test_nothing_in_it_changes_while_a_run_is_resumed(tmp_path: Path) -> None:
    """Not even where the options that may change do, or the fingerprint becomes longer."""
    record = record_of(tmp_path, {"task": "arithmetic", "model": "tiny", "system": "x" * 300, "chat": True})
    before = provenance(record)
    resumed = record.model_copy(
        update={"spec": record.spec | {"max_bad_rows": 0.5, "data": "/moved", "model": "/moved/too", "keep_null": True},
                "fingerprint": record.fingerprint.of(record.fingerprint.fields | {"numerics.dtype": "float32"}),
                "created": "later"}
    )  # fmt: skip
    assert provenance(resumed) == before
    renamed = record.model_copy(update={"run_id": "other", "model": ModelFacts(name="owner/model")})
    assert provenance(renamed) != before
    assert without_names(provenance(renamed)) == without_names(before)
    spec = json.loads(before["skilljobs.spec"])
    assert spec["system"].startswith("digest ")
    other = provenance(record_of(tmp_path, {"task": "arithmetic", "model": "tiny", "system": "y" * 300, "chat": True}))
    assert other["skilljobs.spec"] != before["skilljobs.spec"]
    many = provenance(record_of(tmp_path, {"task": "arithmetic", "metric": tuple(f"m{n}" for n in range(15)),
                                           "by": tuple(f"column{n}" for n in range(9)), "ffn": "x" * 90,
                                           "answer_end": "e" * 90, "attention": "z" * 90, "unit": "u" * 90,
                                           "template": "t" * 90, "layers": "0-1", "few_shot": 3, "limit": 1000,
                                           "learning_rate": 0.1, "tokens": "each", "null": 3, "seed": 7,
                                           "units": "neurons", "prompts": 3, "batch_tokens": 1000,
                                           "shard_size": 10, "tune_loss": "choices"}))  # fmt: skip
    assert len(many["skilljobs.spec"]) <= LONGEST_SPEC


def record_of(tmp_path: Path, options: dict[str, Any]) -> Any:
    from skilljobs.plan.data_options import resolve_spec
    from skilljobs.spec import JobSpec

    spec, _ = resolve_spec(JobSpec.from_values(options))
    fields = {name: value for name, value in spec.as_json().items() if name not in ("data", "model", "max_bad_rows")}
    record = RunRecord(
        run_id="mine", created="now", spec=spec.as_json(), planned_stages=(), versions={}, shards=(), halves=((), ()),
        fingerprint=Fingerprint.of(fields | {"model_digest": "abc"}), units_repeat=False, groups={}, quarantined=(),
        examples=ExampleCounts(train=0, validation=0, test=0), model=ModelFacts(name="/models/tiny"),
    )  # fmt: skip
    RunFiles(str(tmp_path)).save(record)
    return RunFiles(str(tmp_path)).record


def test_units_are_those_of_the_table() -> None:
    assert units_of(CORRELATIONS.names)["ci_low"] == "correlation, -1 to 1"
    assert units_of(["ci_low", "outcome"])["ci_low"] == "as the outcome"
    assert units_of(METRICS.names) == {"reference": "as the metric"}
    assert units_of(MOMENTS.names)["sum_a"] == "sum of metric_a - its reference"
    assert units_of(["sum_a", "sum_ay:p", "sum_ay:q"]) == {
        "sum_a": "sum of activation - reference",
        "sum_ay:*": "sum of (activation - reference) (metric - its reference)",
    }
