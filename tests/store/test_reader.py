"""Polars reads the tables of a run wherever pyarrow keeps its files."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from skilljobs.errors import InputError
from skilljobs.plan.reused_prompt import reused_prompt_bytes
from skilljobs.spec import JobSpec
from skilljobs.store.files import Folder
from skilljobs.store.reader import RunReader
from skilljobs.store.record import StageRecord
from skilljobs.store.references import METRICS_NAME
from skilljobs.store.run import RunFiles
from skilljobs.store.run_list import list_runs
from skilljobs.store.scanning import scan
from skilljobs.store.schema import METRICS, parquet_bytes
from skilljobs.uris import child_uri
from tests.s3_server import s3_server
from tests.store.test_record import record


def keep_a_run(uri: str) -> RunReader:
    """A run with a record and a table of its metrics."""
    row = {"metric": "confidence", "kind": "model", "nullable": False, "column": "confidence", "level": None}
    files = RunFiles(uri)
    files.save(record().model_copy(update={"stages": {"reference": StageRecord(seconds=1.0)}}))
    files.folder.write(
        METRICS_NAME, parquet_bytes([pa.Table.from_pylist([row | {"reference": 0.5}], METRICS)], METRICS)
    )
    return RunReader(uri)


@pytest.mark.parametrize("name", ["mine", "a b", "50%25#?", "é*[1]"])
def test_a_run_with_an_odd_name_is_read_by_path_and_by_uri(tmp_path: Path, name: str) -> None:
    assert keep_a_run(child_uri(str(tmp_path), name)).metrics().collect()["reference"].to_list() == [0.5]
    by_uri = RunReader(child_uri(f"{tmp_path.as_uri()}?a=b", name))
    assert by_uri.metrics().collect()["metric"].to_list() == ["confidence"]


@pytest.mark.slow
def test_the_query_of_a_uri_alone_leads_to_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path / "log") as environment:
        endpoint = environment.pop("AWS_ENDPOINT_URL").removeprefix("http://")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        out = f"s3://bucket/runs?scheme=http&endpoint_override={endpoint}&region=us-east-1"
        for name in ("mine", "a b"):
            assert keep_a_run(child_uri(out, name)).metrics().collect()["reference"].to_list() == [0.5]
        assert sorted(run.folder.root for run in list_runs(out).readable) == ["bucket/runs/a b", "bucket/runs/mine"]
        Folder(out).write("p.safetensors", b"bytes")
        prompt = JobSpec(task="arithmetic", soft_prompt=child_uri(out, "p.safetensors"))
        assert reused_prompt_bytes(prompt) == b"bytes"


def test_a_query_that_polars_would_not_understand_is_refused() -> None:
    with pytest.raises(InputError, match="the options of a URI are understood for s3:// alone"):
        scan("gs://bucket/run?endpoint_override=127.0.0.1:9&retry_limit_seconds=1", ["a.parquet"])


@pytest.mark.parametrize("damage", ["missing", "cut off", "of other columns"])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    reader = keep_a_run(str(tmp_path))
    file = tmp_path / METRICS_NAME
    if damage == "missing":
        file.unlink()
    elif damage == "cut off":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        pl.DataFrame({"metric": ["confidence"]}).write_parquet(file)
    with pytest.raises(InputError, match=r"(lacks|has a file) metrics\.parquet"):
        reader.layout()
