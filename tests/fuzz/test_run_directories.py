"""Whatever a run's directory holds, it is read or refused in a sentence, and a damaged shard does not count."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from skilljobs.cli.main import is_table_damage
from skilljobs.errors import InputError
from skilljobs.progress.job_progress import JobProgress
from skilljobs.progress.job_state import job_state, log_lines
from skilljobs.stats.answers import choice_scores
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.examples import example_bytes, example_schema
from skilljobs.store.files import Folder
from skilljobs.store.integrity import digests_of
from skilljobs.store.reader import RunReader
from skilljobs.store.record import Numerics
from skilljobs.store.references import METRICS_NAME
from skilljobs.store.run import LOG_NAME, PROGRESS_NAME, RECORD, TOP_NAME, RunFiles, correlations_name
from skilljobs.store.run_list import list_runs
from skilljobs.store.schema import CORRELATIONS, METRICS, parquet_bytes
from skilljobs.store.shards import (
    RECEIPT,
    Receipt,
    committed_receipt,
    examples_name,
    moments_name,
    read_receipt,
    scores_file,
    scores_name,
    sha256,
    sums_name,
)
from skilljobs.store.verification import checked_files, damaged_files
from skilljobs.tasks.base import Example
from tests.fuzz.damage import JSON_VALUE, damaged, damaged_json, fuzzed
from tests.store.test_record import record

pytestmark = pytest.mark.fuzz

SHARDS, LAYERS = 2, 2
EXAMPLES = [Example(f"e{n}", f"e{n}", "test", "a:", (" b", " c"), 1, metrics={"level": n}) for n in range(4)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that is complete, with what its tables would hold."""
    path = tmp_path_factory.mktemp("whole") / "mine"
    run = RunFiles(str(path))
    run.save(record())
    run.fix_numerics(Numerics(gpus=0, device="cpu", dtype="float32", threads=1, attention="sdpa", batch_tokens=64))
    run.describe_model(10, tuple(LayerNeurons(layer, 3) for layer in range(LAYERS)), {})
    folder = run.folder
    for shard in range(SHARDS):
        folder.write(examples_name(shard), example_bytes(EXAMPLES, example_schema(EXAMPLES)))
        names = (sums_name(shard), moments_name(shard))
        for name in names:
            folder.write(name, parquet_bytes([pa.table({"a": [shard]})], pa.schema([("a", pa.int64())])))
        receipt = Receipt(
            shard=shard, half=shard, fingerprint=run.record.fingerprint.digest, examples=4, choices=4, right=2,
            tokens=9, seconds=0.5, bit_exact=True, peak_memory_bytes=7,
            files={name: sha256(folder.read(name)) for name in (*names, examples_name(shard))},
        )  # fmt: skip
        scores = [choice_scores([-1.0, -2.0], [1, 1], 1, 3)] * 4
        folder.write(scores_name(shard), scores_file([e.example_id for e in EXAMPLES], scores, {}, receipt))
    row = {"metric": "confidence", "kind": "model", "nullable": False, "column": "confidence", "level": None}
    folder.write(METRICS_NAME, parquet_bytes([pa.Table.from_pylist([row | {"reference": 0.5}], METRICS)], METRICS))
    r = {"layer": 0, "neuron": 1, "metric": "confidence", "population": "all", "n": 8, "r": 0.5}
    table = pa.Table.from_pylist([r], CORRELATIONS)
    for name in (TOP_NAME, *map(correlations_name, range(LAYERS))):
        folder.write(name, parquet_bytes([table], CORRELATIONS))
    run.finish_stage("prepare", 1, digests_of(folder, map(examples_name, range(SHARDS))))
    run.finish_stage("reference", 1, digests_of(folder, [METRICS_NAME]))
    run.finish_stage("collect", 1)
    run.finish_stage("reduce", 1, digests_of(folder, [TOP_NAME]))
    folder.write(PROGRESS_NAME, JobProgress(state="done", host="here", pid=7).written_now().to_bytes())
    folder.write(LOG_NAME, b"a line\nanother\n")
    return path


@pytest.fixture(scope="module")
def place(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes | pa.Buffer], Path]:
    """Makes a run that differs from the whole one in one file."""
    path = tmp_path_factory.mktemp("runs") / "damaged"
    changed: list[str] = []

    def with_file(name: str, data: bytes | pa.Buffer) -> Path:
        if not path.exists():
            shutil.copytree(whole, path)
        for before in changed:
            shutil.copyfile(whole / before, path / before)
        changed[:] = [name]
        (path / name).write_bytes(memoryview(data))
        return path

    return with_file


def read_all(path: Path) -> None:
    """Ask a run everything: each answer is given or refused in a sentence."""
    reader = RunReader(str(path))
    run = RunFiles(str(path))
    questions: list[Callable[[], object]] = [
        lambda: run.load(),
        lambda: (run.record.next_stage, run.record.is_complete, run.record.job_spec.prompts),
        lambda: damaged_files(run, thorough=False),
        lambda: damaged_files(run, thorough=True),
        lambda: checked_files(run),
        lambda: run.committed_count(),
        lambda: reader.prompts(),
        lambda: reader.committed_shards(),
        lambda: reader.layout(),
        lambda: reader.strongest().collect(),
    ]
    for ask in questions:
        try:
            ask()
        except InputError as error:
            refusal = str(error)
            if len(refusal) > 2000 or "\n" in refusal:
                raise AssertionError(refusal) from error
    for table in (reader.scores, reader.sums, reader.examples, reader.correlations, reader.metrics):
        try:
            table().collect()
        except BaseException as error:  # a lazy frame is read by Polars itself, which may panic
            if not (isinstance(error, InputError) or is_table_damage(error)):
                raise
    for shard in range(SHARDS):
        read_receipt(run.folder, shard)
        committed_receipt(run.folder, shard, "of another run")
    state = job_state(run.folder)
    assert state is None or isinstance(state.text, str)
    log_lines(run.folder)
    found = list_runs(str(path.parent))
    assert [*(run.uri for run in found.readable), *found.broken] == [str(path)]


def test_the_whole_run_is_whole(whole: Path) -> None:
    run = RunFiles(str(whole))
    assert damaged_files(run, thorough=True) == []
    assert RunReader(str(whole)).strongest().collect()["r"].to_list() == [0.5]
    read_all(whole)


FILES = [
    RECORD, PROGRESS_NAME, LOG_NAME, METRICS_NAME, TOP_NAME, scores_name(0), sums_name(1), moments_name(0),
    examples_name(1), correlations_name(1),
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_of_a_run(whole: Path, place: Callable[[str, bytes], Path], name: str) -> None:
    intact = (whole / name).read_bytes()
    digest = RunFiles(str(whole)).record.fingerprint.digest

    @fuzzed
    @given(data=damaged(st.just(intact)))
    def check(data: bytes) -> None:
        path = place(name, data)
        read_all(path)
        receipt = committed_receipt(Folder(str(path)), 0, digest)
        if name in (sums_name(0), moments_name(0), examples_name(0)) and data != intact:
            assert receipt is None

    check()


@pytest.mark.parametrize("name", [RECORD, PROGRESS_NAME])
def test_odd_values_in_what_a_run_says(whole: Path, place: Callable[[str, bytes], Path], name: str) -> None:
    @fuzzed
    @given(data=damaged_json((whole / name).read_bytes()))
    def check(data: bytes) -> None:
        read_all(place(name, data))

    check()


@fuzzed
@given(stored=st.data())
def test_odd_values_in_a_receipt(whole: Path, place: Callable[[str, pa.Buffer], Path], stored: st.DataObject) -> None:
    folder = Folder(str(whole))
    receipt = read_receipt(folder, 0)
    assert receipt is not None
    text = stored.draw(damaged_json(json.dumps(asdict(receipt)).encode()))
    table = parquet.read_table(whole / scores_name(0)).replace_schema_metadata({RECEIPT: text})
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    path = place(scores_name(0), sink.getvalue())
    read_all(path)
    counted = committed_receipt(Folder(str(path)), 0, receipt.fingerprint)
    if counted is not None:
        assert counted.scores_digest == receipt.scores_digest
        assert replace(counted, files={}).shard == 0


@fuzzed
@given(
    name=st.sampled_from([METRICS_NAME, TOP_NAME, scores_name(0), examples_name(1), correlations_name(0)]),
    columns=st.dictionaries(
        st.sampled_from(["metric", "kind", "r", "layer", "population", "x"]), JSON_VALUE, max_size=4
    ),
)
def test_a_table_of_other_columns(
    place: Callable[[str, pa.Buffer], Path], name: str, columns: dict[str, object]
) -> None:
    try:
        table = pa.Table.from_pylist([columns])
        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return
    read_all(place(name, sink.getvalue()))
