"""Damage to the files of a run: made again where it can be, named where it cannot, never passed over."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import skilljobs
from skilljobs.cli.main import main
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.examples import examples_from
from skilljobs.store.shards import committed_receipt
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, small_llama: Path) -> dict[str, Any]:
    data = write_jsonl(tmp_path_factory.mktemp("data") / "table.jsonl", random_rows(120))
    return {"data": str(data), "model": str(small_llama), "soft_prompt": "random", "prompt_length": 2, "null": 1,
            "shard_size": 10, "run_id": "mine", "report": False}  # fmt: skip


@pytest.fixture(scope="module")
def original(ray_here: object, tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]) -> Path:
    out = tmp_path_factory.mktemp("original")
    return Path(skilljobs.submit(out=str(out), reporter=SilentReporter(), **options).uri)


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A complete run, to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "mine"))


def forget(run: Path, *stages: str) -> None:
    record = json.loads((run / "run.json").read_text())
    for stage in stages:
        del record["stages"][stage]
    (run / "run.json").write_text(json.dumps(record))


def flip(file: Path, place: int | None = None) -> None:
    """Change one bit; the size stays."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 4
    file.write_bytes(data)


def exchange_part(run: Path) -> None:
    (run / "shards/scores-00003.parquet").unlink()
    shutil.copy(run / "examples/part-00001.parquet", run / "examples/part-00003.parquet")


def resume(run: Path, options: dict[str, Any], **more: Any) -> list[str]:
    reporter = Notes()
    skilljobs.submit(out=str(run.parent), reporter=reporter, **(options | more))
    return reporter.notes


def same_results(run: Path, original: Path) -> bool:
    names = [path.relative_to(original) for path in original.glob("correlations/*.parquet")]
    return all((run / name).read_bytes() == (original / name).read_bytes() for name in [*names, Path("top.parquet")])


DAMAGE: dict[str, tuple[tuple[str, ...], Callable[[Path], object], str]] = {
    "an examples part is that of another shard": (
        ("collect", "reduce"),
        exchange_part,
        "examples/part-00003.parquet is damaged or missing: the stage prepare runs again",
    ),
    "a bit of the reference": (
        ("reduce",),
        lambda run: flip(run / "reference.parquet"),
        "reference.parquet is damaged or missing: the stage reference runs again",
    ),
    "no metrics": (
        ("reduce",),
        lambda run: (run / "metrics.parquet").unlink(),
        "metrics.parquet is damaged or missing: the stage reference runs again",
    ),
    "a bit of the prompt, which is drawn by seed": (
        ("collect", "reduce"),
        lambda run: flip(run / "prompt/soft_prompt.safetensors", -3),
        "prompt/soft_prompt.safetensors is damaged or missing: the stage tune runs again",
    ),
    "a layer's correlations": (
        (),
        lambda run: (run / "correlations/layer-001.parquet").unlink(),
        "correlations/layer-001.parquet is damaged or missing: the stage reduce runs again",
    ),
    "the end of top.parquet": (
        (),
        lambda run: (run / "top.parquet").write_bytes((run / "top.parquet").read_bytes()[:-5]),
        "top.parquet is damaged or missing: the stage reduce runs again",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_what_can_be_made_again_is_and_that_is_said(
    run: Path, original: Path, options: dict[str, Any], name: str
) -> None:
    forgotten, damage, note = DAMAGE[name]
    forget(run, *forgotten)
    damage(run)
    assert note in resume(run, options)
    assert same_results(run, original)
    for part in original.glob("examples/*.parquet"):
        assert (run / "examples" / part.name).read_bytes() == part.read_bytes()


@pytest.mark.parametrize("kind", ["scores", "sums", "moments"])
def test_a_bit_of_a_shard_has_it_scored_again(run: Path, original: Path, options: dict[str, Any], kind: str) -> None:
    forget(run, "reduce")
    file = run / f"shards/{kind}-00002.parquet"
    flip(file, 60)
    shards = len(list(original.glob("shards/scores-*.parquet")))
    assert f"collect: {shards - 1} of {shards} shards are committed already" in resume(run, options)
    assert same_results(run, original)
    assert file.read_bytes() == (original / f"shards/{kind}-00002.parquet").read_bytes() or kind == "scores"


def test_scores_of_other_rows_do_not_count(original: Path) -> None:
    """The receipt stands in the same file, and could be moved to other rows."""
    fingerprint = json.loads((original / "run.json").read_text())["fingerprint"]["digest"]
    reader = skilljobs.open_run(str(original))
    assert committed_receipt(reader.folder, 0, fingerprint) is not None
    assert committed_receipt(reader.folder, 0, "another") is None
    assert committed_receipt(reader.folder, 999, fingerprint) is None


def test_damage_of_the_same_size_is_found_where_it_is_looked_for(
    run: Path, original: Path, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    flip(run / "correlations/layer-000.parquet")
    assert any("is complete already" in note for note in resume(run, options))
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(run)])
    assert ended.value.code == 1
    assert "damaged or missing: correlations/layer-000.parquet" in capsys.readouterr().out
    notes = resume(run, options, verify=True)
    assert "correlations/layer-000.parquet is damaged or missing: the stage reduce runs again" in notes
    assert same_results(run, original)
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(run)])
    assert ended.value.code == 0
    assert "files are as they were written; the run is complete" in capsys.readouterr().out


def test_a_bit_of_committed_scores_is_named_by_verify(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(run / "shards/scores-00001.parquet", 60)
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(run)])
    assert ended.value.code == 1
    assert "damaged or missing: shards/scores-00001.parquet" in capsys.readouterr().out


def test_a_tuned_prompt_cannot_be_made_again(tmp_path: Path, options: dict[str, Any]) -> None:
    tuned = options | {"soft_prompt": None, "tune_steps": 2}
    run = Path(skilljobs.submit(out=str(tmp_path), reporter=SilentReporter(), **tuned).uri)
    flip(run / "prompt/soft_prompt.safetensors", -3)
    forget(run, "reduce")
    with pytest.raises(InputError, match=r"prompt/soft_prompt\.safetensors is damaged or missing, and what was read"):
        resume(run, tuned, verify=True)


def test_no_answer_comes_from_a_part_of_the_layers(run: Path) -> None:
    (run / "correlations/layer-001.parquet").unlink()
    with pytest.raises(InputError, match=r"lacks correlations/layer-001\.parquet"):
        skilljobs.open_run(str(run)).top("confidence", k=5, per_layer=True)


def test_examples_are_those_of_the_run(original: Path) -> None:
    ids = [example.example_id for part in sorted(original.glob("examples/*.parquet"))
           for example in examples_from(part.read_bytes())]  # fmt: skip
    assert len(set(ids)) == len(ids) == sum(json.loads((original / "run.json").read_text())["shards"])
