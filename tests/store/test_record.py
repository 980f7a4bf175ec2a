"""The record of a run: read as it was written, and refused in a sentence where it cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest

from skilljobs.errors import InputError
from skilljobs.stats.neurons import LayerNeurons
from skilljobs.store.record import ExampleCounts, Fingerprint, ModelFacts, Numerics, QuarantinedRow, RunRecord
from skilljobs.store.run import RunFiles
from skilljobs.store.run_list import list_runs

NEURONS = (LayerNeurons(0, 4), LayerNeurons(1, 2, (0, 3), 5))


def record(**changed: Any) -> RunRecord:
    return RunRecord(
        run_id="mine",
        created="2026-01-01T00:00:00+00:00",
        spec={"task": "arithmetic", "model": "tiny"},
        planned_stages=("prepare", "collect"),
        fingerprint=Fingerprint.of({"seed": 0}),
        versions={"skilljobs": "0.1.0", "ray": None},
        examples=ExampleCounts(train=5, validation=2, test=8),
        shards=(4, 4),
        halves=((0,), (1,)),
        units_repeat=False,
        model=ModelFacts(name="tiny"),
        groups={"operation": ("operation=addition",)},
        quarantined=(QuarantinedRow(source="a.jsonl", row=3, reason="`text` is empty"),),
        **changed,
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFiles:
    files = RunFiles(str(tmp_path / "mine"))
    files.save(record())
    return files


def test_what_was_saved_is_read(run: RunFiles) -> None:
    run.finish_stage("prepare", 1.25)
    run.finish_stage("prepare", 0.5)
    numerics = Numerics(gpus=0, device="cpu", dtype="float32", threads=1, attention="sdpa", batch_tokens=2048)
    run.fix_numerics(numerics)
    run.describe_model(10, NEURONS, {"torch": "2.13.0"})
    read = RunFiles(run.uri).record
    assert read == run.record
    assert read.stages["prepare"].seconds == 1.75
    assert (read.numerics, read.neurons) == (numerics, NEURONS)
    assert (read.is_complete, read.next_stage) == (False, "collect")
    run.finish_stage("collect", 1)
    assert RunFiles(run.uri).record.is_complete


def test_what_is_not_known_yet_is_left_out(run: RunFiles) -> None:
    stored = json.loads((Path(run.uri) / "run.json").read_text())
    assert not {"stopped_at", "skewness", "tokens"} & set(stored)
    assert stored["model"] == {"name": "tiny"}
    assert stored["accuracy"] == {"before": None, "after": None, "test": None}


def test_the_fingerprint_only_grows(run: RunFiles) -> None:
    before = run.record.fingerprint
    run.extend_fingerprint({"seed": 0})
    assert run.record.fingerprint == before
    run.extend_fingerprint({"prompt_digest": "ab"})
    assert run.record.fingerprint.digest != before.digest
    with pytest.raises(InputError, match="was begun with prompt_digest = 'ab', now it is 'cd'"):
        run.extend_fingerprint({"prompt_digest": "cd"})


def test_a_newer_skilljobs_with_one_stage_more_has_something_left_to_do(run: RunFiles) -> None:
    for stage in ("prepare", "collect"):
        run.finish_stage(stage, 1)
    run.plan_stages(("prepare", "collect", "interpret"))
    assert RunFiles(run.uri).record.next_stage == "interpret"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "has a broken run.json"),
        ("[1]", "has a broken run.json: it is not a JSON object"),
        ("", "has a broken run.json"),
        ("{}", "has format version None"),
        ('{"format": 2}', "has format version 2; this skilljobs reads 4"),
        ('{"format": 4, "run_id": "mine"}', "has a broken run.json: created: field required"),
        ("[" * 100_000, "has a broken run.json"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_in_a_sentence(run: RunFiles, text: str, reason: str) -> None:
    (Path(run.uri) / "run.json").write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        RunFiles(run.uri).load()
    assert "\n" not in str(caught.value)
    found = list_runs(str(Path(run.uri).parent))
    assert (found.readable, list(found.broken)) == ([], [run.uri])


def test_a_wrong_type_is_named(run: RunFiles) -> None:
    stored = json.loads((Path(run.uri) / "run.json").read_text())
    stored["shards"] = ["four"]
    (Path(run.uri) / "run.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match=r"broken run.json: shards\.0"):
        RunFiles(run.uri).load()


@pytest.mark.parametrize(
    "spec", [{}, {"task": 5}, {"task": "arithmetic", "metric": 5}, {"data": "a", "prompts": "two"}]
)
def test_a_spec_that_is_none_is_named(run: RunFiles, spec: dict[str, Any]) -> None:
    stored = json.loads((Path(run.uri) / "run.json").read_text())
    (Path(run.uri) / "run.json").write_text(json.dumps(stored | {"spec": spec}))
    with pytest.raises(InputError, match=r"broken run.json: spec: "):
        RunFiles(run.uri).load()
