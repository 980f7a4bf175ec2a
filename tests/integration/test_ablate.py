"""Ablations of a finished run, through Ray: effects against plain passes, resuming, refusals, damage."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import skilljobs
from skilljobs.cli.main import main
from skilljobs.errors import InputError, JobFailed
from skilljobs.plan.finished_run import refuse_other_units
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.ablation_tables import damaged_ablations
from skilljobs.store.examples import examples_of
from skilljobs.store.run import RunFiles
from skilljobs.store.verification import damaged_files
from skilljobs.tasks.base import Example
from tests.integration.oracle import PlainModel
from tests.models import save_random_llama
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]

LENGTH = 3
LISTED = tuple(f"{layer}/{neuron}" for layer in (0, 1) for neuron in range(3, 60, 4))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_llama(tmp_path_factory.mktemp("models") / "model", width=16, neurons=64, layers=2, heads=2)


@pytest.fixture(scope="module")
def run(ray_here: object, model: Path, tmp_path_factory: pytest.TempPathFactory) -> skilljobs.Run:
    return submit(model, tmp_path_factory.mktemp("runs"))


def submit(model: Path, out: Path, **options: Any) -> skilljobs.Run:
    data = write_jsonl(out / "table.jsonl", random_rows(90))
    common = {"soft_prompt": "random", "prompt_length": LENGTH, "null": 2, "shard_size": 6, "batch_tokens": 300}
    common |= {"by": "kind", "report": False, "reporter": SilentReporter()}
    return skilljobs.submit(data=str(data), model=str(model), out=str(out), **{**common, **options})


def ablate(run: skilljobs.Run, **options: Any) -> pl.DataFrame:
    return run.ablate(**{"report": False, "reporter": SilentReporter(), "draws": 5, **options})


def one(rows: pl.DataFrame, **where: Any) -> dict[str, Any]:
    found = rows.filter(**where)
    assert len(found) == 1
    return found.row(0, named=True)


def half(run: skilljobs.Run, number: int) -> list[Example]:
    return [e for e in examples_of(run.examples().collect().to_arrow()) if e.half == number]


def margin_of(plain: PlainModel, example: Example, prompt: torch.Tensor) -> float:
    assert example.choices is not None
    scores = [plain.run(example.text, prompt, choice)[1] for choice in example.choices]
    return scores[example.answer] - max(s for place, s in enumerate(scores) if place != example.answer)  # type: ignore[operator, index]


class Silenced:
    """Hooks on a plain model that put the mean of half 0 at each prompt position in place of some activations."""

    def __init__(self, plain: PlainModel, means: np.ndarray, names: tuple[str, ...]) -> None:
        self.plain, self.means = plain, torch.from_numpy(means).float()
        self.names = [tuple(map(int, name.split("/"))) for name in names]
        self.start = 0

    def margin(self, example: Example, prompt: torch.Tensor) -> float:
        self.start = len(self.plain.tokenizer(example.text).input_ids)
        hooks = [
            self.plain.layers[layer].register_forward_pre_hook(
                lambda _, given, layer=layer, neuron=neuron: (self._changed(given[0], layer, neuron),)
            )
            for layer, neuron in self.names
        ]
        try:
            return margin_of(self.plain, example, prompt)
        finally:
            for hook in hooks:
                hook.remove()

    def _changed(self, values: torch.Tensor, layer: int, neuron: int) -> torch.Tensor:
        values = values.clone()
        values[0, self.start : self.start + LENGTH, neuron] = self.means[layer, :, neuron]
        return values


def test_the_effect_of_listed_neurons_is_that_of_plain_passes(run: skilljobs.Run, model: Path) -> None:
    record = Path(run.uri, "run.json").read_bytes()
    rows = ablate(run, neuron=LISTED)
    plain, prompt = PlainModel(model), run.soft_prompt()
    means = np.mean([plain.run(e.text, prompt, " 1")[0] for e in half(run, 0)], axis=0)
    silenced = Silenced(plain, means, LISTED)
    examples = half(run, 1)
    deltas = np.array([silenced.margin(e, prompt) - margin_of(plain, e, prompt) for e in examples])
    found = one(rows, set="listed", group="all")
    assert np.abs(deltas).mean() > 0.01, "the neurons do something"
    assert found["delta_margin"] == pytest.approx(deltas.mean(), abs=3e-5)
    assert found["n"] == len(examples)
    assert found["ci_low"] < deltas.mean() < found["ci_high"]
    assert found["seen_half1"]
    of_kind = np.array([e.metrics["kind"] == "a" for e in examples])
    assert one(rows, set="listed", group="kind=a")["delta_margin"] == pytest.approx(deltas[of_kind].mean(), abs=3e-5)
    by_id = {row["example_id"]: row for row in run.ablation_scores().filter(set="listed").collect().to_dicts()}
    none = {row["example_id"]: row for row in run.ablation_scores().filter(set="none").collect().to_dicts()}
    for example, delta in zip(examples, deltas, strict=True):
        of_example = by_id[example.example_id]["margin"] - none[example.example_id]["margin"]
        assert of_example == pytest.approx(delta, abs=3e-4)
    assert Path(run.uri, "run.json").read_bytes() == record, "an ablation leaves the run's record as it is"


def test_nothing_changed_is_the_run_and_controls_are_of_the_same_kind(run: skilljobs.Run) -> None:
    rows = ablate(run, metric="words", k=[1, 6])
    assert rows["metric"].unique().to_list() == ["words"]
    scores = run.ablation_scores().filter(pl.col("ablation") == rows["ablation"][0]).collect()
    none = scores.filter(set="none").join(run.scores().collect(), on="example_id", suffix="_run")
    assert len(none) == len(half(run, 1))
    for name in ("confidence", "margin", "target_logprob"):
        size = 1 + none["target_logprob_run"].abs() + none["margin_run"].abs()
        assert ((none[name] - none[f"{name}_run"]).abs() / size).to_numpy().max() < 1e-5
    assert (none["correct"] == none["correct_run"]).all()
    sets = pl.read_parquet(Path(run.uri, "ablations", rows["ablation"][0], "sets.parquet"))
    strongest = run.correlations().filter(metric="words", population="all").collect()
    strongest = strongest.sort(pl.col("r_half0").abs(), descending=True).head(6)
    ranked = strongest.select("layer", "neuron").rows()
    assert set(sets.filter(set="top", k=6).select("layer", "neuron").rows()) == set(ranked)
    for draw in range(5):
        control = sets.filter(set="random", k=6, draw=draw)
        assert not set(control.select("layer", "neuron").rows()) & set(ranked)
        assert sorted(control["layer"]) == sorted(layer for layer, _ in ranked)
    tested, others = rows.filter(set="top"), rows.filter(pl.col("set") != "top")
    assert tested["p"].is_between(1 / 6, 1).all()
    assert others["p"].null_count() == len(others)
    assert set(rows["group"]) == {"all", "kind=a", "kind=b"}
    effects = rows.filter(group="all", set="random", k=6)["delta_margin"].to_numpy()
    found = one(rows, group="all", set="top", k=6)
    if abs(found["delta_margin"] - effects.mean()) > 2 * np.abs(effects - effects.mean()).max():
        assert found["p"] == pytest.approx(1 / 6)
    assert found["controls"] == 5


@pytest.mark.parametrize("how", ["zero", "scale:3", "set:0.5", "resample"])
def test_other_ways_of_changing(run: skilljobs.Run, how: str) -> None:
    rows = ablate(run, neuron=LISTED, how=how, draws=2)
    assert one(rows, set="listed", group="all")["delta_margin"] != 0
    assert rows["how"].unique().to_list() == [how]
    if how == "scale:3":
        same = ablate(run, neuron=LISTED, how="scale:1", draws=2)
        assert np.abs(same["delta_margin"].to_numpy()).max() == 0


def test_at_all_positions_more_changes(run: skilljobs.Run) -> None:
    rows = {at: ablate(run, neuron=LISTED, at=at) for at in ("prompt", "all")}
    effects = [one(of_it, set="listed", group="all")["delta_margin"] for of_it in rows.values()]
    assert effects[0] != pytest.approx(effects[1], rel=0.01)


def test_specificity_has_rows_for_each_value_and_its_examples(run: skilljobs.Run) -> None:
    rows = ablate(run, specificity="kind", k=3)
    top = rows.filter(set="top")
    assert set(top.select("metric", "group").rows()) == {
        (metric, group) for metric in ("kind=a", "kind=b") for group in ("all", "kind=a", "kind=b")
    }
    assert len(rows.filter(set="none", group="all")) == 2, "nothing changed, for each metric"


def test_a_part_that_is_lost_is_made_again_with_the_same_bits(run: skilljobs.Run) -> None:
    first = ablate(run, metric="words", k=4)
    folder = Path(run.uri, "ablations", first["ablation"][0])
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    root = Path(run.uri, "ablation_scores.parquet").read_bytes()
    shards = sorted(folder.glob("shards/*"))
    shards[0].unlink()
    shards[1].write_bytes(before[shards[1]][:-20])
    Path(run.uri, "ablation_scores.parquet").write_bytes(b"")
    damaged = damaged_ablations(RunFiles(run.uri))
    assert {name.rpartition("/")[2] for name in damaged} == {shards[0].name, shards[1].name, "ablation_scores.parquet"}
    assert damaged_files(RunFiles(run.uri), thorough=True) == []
    kept = shards[2].stat().st_mtime_ns
    again = ablate(run, metric="words", k=4)
    assert again.equals(first)
    assert shards[2].stat().st_mtime_ns == kept, "what is whole is kept"
    assert pl.read_parquet(shards[0]).equals(pl.read_parquet(before[shards[0]]))
    assert Path(run.uri, "ablation_scores.parquet").read_bytes() == root
    assert damaged_ablations(RunFiles(run.uri)) == []


def test_the_tables_at_the_root_hold_every_ablation(run: skilljobs.Run) -> None:
    first, second = ablate(run, metric="words", k=4), ablate(run, neuron=LISTED)
    table = run.ablation().collect()
    for rows in (first, second):
        assert table.filter(pl.col("ablation") == rows["ablation"][0]).equals(rows)
    assert first["ablation"][0] != second["ablation"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "say which neurons"),
        ({"metric": "nothing"}, "no metric 'nothing'"),
        ({"metric": "words", "population": "kind=z"}, "no population"),
        ({"metric": "words", "k": "0"}, "whole numbers from 1"),
        ({"metric": "words", "k": 1000}, "has 128 neurons"),
        ({"metric": "words", "k": 100}, "more than half"),
        ({"neuron": ("0/64",)}, "has read no such neuron"),
        ({"neuron": ("7/1",)}, "has read no such neuron"),
        ({"neuron": ("x",)}, "is not a neuron"),
        ({"metric": "words", "neuron": ("0/1",)}, "one of"),
        ({"metric": "words", "how": "scale:nan"}, "scale:X or set:X"),
        ({"metric": "words", "how": "resample", "at": "all"}, "--at prompt"),
        ({"specificity": "words"}, "no 0/1 metrics"),
        ({"metric": "words", "layers": 3}, "no option 'layers'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_started(
    run: skilljobs.Run, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skilljobs.pipeline.ablate_job.Workplace", None)
    with pytest.raises(InputError, match=message):
        ablate(run, **options)


def test_units_that_cannot_be_silenced_are_refused(run: skilljobs.Run) -> None:
    for units in ("heads", "residual", "experts", "sae:DIR"):
        with pytest.raises(InputError, match=f"read {units} .* cannot be silenced"):
            refuse_other_units(run.record.model_copy(update={"spec": {**run.record.spec, "units": units}}))


def test_a_model_that_several_processes_hold_is_refused(run: skilljobs.Run) -> None:
    with pytest.raises(InputError, match="2 processes hold one model"):
        refuse_other_units(run.record.model_copy(update={"spec": {**run.record.spec, "tensor_parallel": 2}}))


def test_a_masked_language_model_is_refused(run: skilljobs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skilljobs.pipeline.ablate_job.Workplace", None)
    monkeypatch.setattr("skilljobs.checkpoints.source.ModelSource.is_masked", True)
    with pytest.raises(InputError, match="masked language model, whose neurons cannot be silenced yet"):
        ablate(run, metric="words", k=1)


def test_each_position_and_each_prompt(model: Path, tmp_path: Path) -> None:
    run = submit(model, tmp_path, prompts=2, tokens="each")
    rows = ablate(run, metric="words", k=2)
    assert sorted(rows["prompt"].unique()) == [0, 1]
    assert len(rows.filter(set="top", group="all")) == 2
    assert damaged_ablations(RunFiles(run.uri)) == []


def test_without_a_prompt_the_last_token_is_changed(model: Path, tmp_path: Path) -> None:
    run = submit(model, tmp_path, soft_prompt="none")
    rows = ablate(run, neuron=LISTED, how="set:3")
    assert one(rows, set="listed", group="all")["delta_margin"] != 0


def test_the_command_prints_a_table_and_what_follows_from_it(
    run: skilljobs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ablate", run.uri, "--metric", "words", "-k", "1,4", "--draws", "20", "--no-report"]
    for extra in (["--dry-run"], [], ["--format", "json"]):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *extra])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        if extra == ["--dry-run"]:
            assert "43 sets on" in out
            assert "tokens, about" in out
            assert not Path(run.uri, out.split(":")[0]).exists()
        elif not extra:
            assert "mean at the prompt" in out
            assert "random neurons of the same layers" in out
        else:
            rows = json.loads(out)
            assert {"metric", "k", "p", "delta_margin", "controls"} <= rows[0].keys()


def test_scores_that_are_not_those_of_the_run_are_named(model: Path, tmp_path: Path) -> None:
    run = submit(model, tmp_path)
    part = sorted(Path(run.uri, "shards").glob("scores-*.parquet"))[-1]
    stored = pl.read_parquet(part)
    stored.with_columns(pl.col("target_logprob") + 1).write_parquet(part)
    with pytest.raises(JobFailed, match="with nothing silenced, the scores differ"):
        ablate(run, metric="words", k=1)
