"""Effects of all neurons of a finished run, through Ray: against plain passes, resuming, replicas, what is printed."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from transformers import LlamaForCausalLM

import skilljobs
from skilljobs.cli.main import main
from skilljobs.errors import InputError, JobFailed
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.effect_tables import damaged_effects
from skilljobs.store.examples import examples_of
from skilljobs.store.follow_up_schema import EFFECTS
from skilljobs.store.run import RunFiles
from skilljobs.tasks.base import Example
from tests.benchmarks import effects
from tests.integration.oracle import PlainModel
from tests.models import save, save_random_llama
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]

LENGTH = 3
DEAD = (0, 7)
"""A neuron whose output is zero."""
NEURONS = ((0, 3), (0, 20))
STEP = 0.02


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model"
    save_random_llama(path, width=16, neurons=64, layers=2, heads=2)
    loaded = LlamaForCausalLM.from_pretrained(path)
    with torch.no_grad():
        loaded.model.layers[DEAD[0]].mlp.down_proj.weight[:, DEAD[1]] = 0.0
    return save(loaded, path)


def submit(model: Path, out: Path, **options: Any) -> skilljobs.Run:
    data = write_jsonl(out / "table.jsonl", random_rows(90))
    common = {"soft_prompt": "random", "prompt_length": LENGTH, "null": 2, "shard_size": 6, "batch_tokens": 300}
    common |= {"by": "kind", "report": False, "reporter": SilentReporter()}
    return skilljobs.submit(data=str(data), model=str(model), out=str(out), **{**common, **options})


@pytest.fixture(scope="module")
def finished(ray_here: object, model: Path, tmp_path_factory: pytest.TempPathFactory) -> skilljobs.Run:
    """A run without effects."""
    return submit(model, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def run(finished: skilljobs.Run, tmp_path_factory: pytest.TempPathFactory) -> skilljobs.Run:
    """A copy of it with effects, estimated by two scorers."""
    copied = copy_of(finished, tmp_path_factory.mktemp("copies") / "run")
    estimate(copied, replicas=2)
    return copied


def copy_of(run: skilljobs.Run, place: Path) -> skilljobs.Run:
    shutil.copytree(run.uri, place)
    return skilljobs.open_run(str(place))


def estimate(run: skilljobs.Run, **options: Any) -> pl.DataFrame:
    return run.effects(**{"report": False, "reporter": SilentReporter(), **options})


def half(run: skilljobs.Run, number: int) -> list[Example]:
    return [e for e in examples_of(run.examples().collect().to_arrow()) if e.half == number]


class MovedToMean:
    """A plain model in float64, of which one neuron is moved a part of the way to its mean at each prompt position."""

    def __init__(self, model: Path, run: skilljobs.Run) -> None:
        self.plain = PlainModel(model)
        self.plain.model.double()
        self.prompt = run.soft_prompt().double()
        means = [self.plain.run(example.text, self.prompt, " 1")[0] for example in half(run, 0)]
        self.means = torch.from_numpy(np.mean(means, axis=0))

    def scores(self, example: Example, layer: int = 0, neuron: int = 0, part: float = 0.0) -> list[float]:
        start = len(self.plain.tokenizer(example.text).input_ids)

        def move(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
            values = given[0].clone()
            at = values[0, start : start + LENGTH, neuron]
            values[0, start : start + LENGTH, neuron] = at + part * (self.means[layer, :, neuron] - at)
            return (values,)

        hook = self.plain.layers[layer].register_forward_pre_hook(move)
        try:
            return [self.plain.run(example.text, self.prompt, choice)[1] for choice in example.choices or ()]
        finally:
            hook.remove()


def test_an_effect_is_the_slope_on_the_way_to_the_mean_in_plain_passes(run: skilljobs.Run, model: Path) -> None:
    plain, rows = MovedToMean(model, run), run.effect_table().collect()
    wrong = {}
    for example in (examples := half(run, 1)):
        scores = plain.scores(example)
        others = [place for place in range(len(scores)) if place != example.answer]
        wrong[example.example_id] = max(others, key=scores.__getitem__)
    for layer, neuron in NEURONS:
        slopes = []
        for example in examples:
            assert example.answer is not None
            ends = [plain.scores(example, layer, neuron, part) for part in (STEP, -STEP)]
            margins = [scores[example.answer] - scores[wrong[example.example_id]] for scores in ends]
            slopes.append((margins[0] - margins[1]) / (2 * STEP))
        for group, kept in (("all", None), ("kind=a", "a")):
            mine = np.array([s for s, e in zip(slopes, examples, strict=True) if kept in (None, e.metrics["kind"])])
            found = rows.filter(layer=layer, neuron=neuron, group=group).row(0, named=True)
            assert np.abs(mine).mean() > 1e-3, "the neuron does something"
            assert found["n"] == len(mine)
            assert found["effect"] == pytest.approx(mine.mean(), rel=5e-3, abs=1e-4)
            assert found["effect_abs"] == pytest.approx(np.abs(mine).mean(), rel=5e-3, abs=1e-4)
            assert found["ci_low"] < mine.mean() < found["ci_high"]


def test_the_table_has_every_neuron_in_every_group_and_a_neuron_without_effect_has_no_p(run: skilljobs.Run) -> None:
    rows = run.effect_table().collect()
    assert rows.columns == EFFECTS.names
    assert set(rows["group"]) == {"all", "kind=a", "kind=b"}
    assert len(rows) == 3 * 2 * 64
    assert rows["token"].null_count() == rows["prompt"].null_count() == len(rows)
    assert rows["effect_half1"].equals(rows["effect"].alias("effect_half1"))
    assert (rows["effect_abs"] >= rows["effect"].abs() - 1e-12).all()
    assert not rows["effect_half0"].equals(rows["effect"])
    # at the prompt, the last layer acts on the first token of an answer alone, which all choices share here
    dead = (rows["layer"] == 1) | (rows["layer"] == DEAD[0]) & (rows["neuron"] == DEAD[1])
    for name in ("p", "q"):
        assert rows.filter(dead)[name].null_count() == dead.sum()
        assert rows.filter(~dead)[name].null_count() == 0
    assert (rows.filter(dead)["effect"] == 0).all()
    assert rows.filter(~dead, group="all")["consistency"].null_count() == 0
    assert rows.filter(dead)["consistency"].null_count() == dead.sum()
    null = run.effect_null_maxima().collect()
    assert len(null) == 39
    assert (null["consistency"] > 0).all()


def test_replicas_and_interruptions_change_no_bit(finished: skilljobs.Run, run: skilljobs.Run, tmp_path: Path) -> None:
    class Stopping(SilentReporter):
        def advance(self, done: int, detail: str) -> None:
            if done == 2 and "tokens/s" in detail:
                raise RuntimeError("stopped here")

    other = copy_of(finished, tmp_path / "other")
    with pytest.raises(RuntimeError, match="stopped here"):
        estimate(other, replicas=1, reporter=Stopping())
    shards = Path(other.uri, "effects", "margin", "shards")
    before = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.parquet")}
    assert 2 <= len(before) < len(run.record.shards), "it was stopped between shards"
    damaged = sorted(shards.glob("*.parquet"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    estimate(other, replicas=2)
    for path in Path(run.uri, "effects").rglob("*.parquet"):
        assert path.read_bytes() == Path(other.uri, path.relative_to(run.uri)).read_bytes(), path
    after = {name: shards.joinpath(name).stat().st_mtime_ns for name in before}
    assert [name for name in before if after[name] != before[name]] == [damaged.name], "what is whole is kept"
    for name in ("effects.parquet", "effects_null.parquet"):
        assert Path(other.uri, name).read_bytes() == Path(run.uri, name).read_bytes()
    assert damaged_effects(RunFiles(other.uri)) == []


def test_damage_is_named_and_made_again(run: skilljobs.Run, tmp_path: Path) -> None:
    other = copy_of(run, tmp_path / "other")
    shard = Path(other.uri, "effects", "margin", "shards", "sums-00001.parquet")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    Path(other.uri, "effects.parquet").unlink()
    assert set(damaged_effects(RunFiles(other.uri))) == {"effects/margin/shards/sums-00001.parquet", "effects.parquet"}
    Path(other.uri, "effects", "margin", "record.json").write_text("{")
    assert set(damaged_effects(RunFiles(other.uri))) == {"effects/margin/record.json", "effects.parquet"}
    again = estimate(other)
    assert shard.read_bytes() == whole
    assert again.equals(run.effect_table().collect())
    assert damaged_effects(RunFiles(other.uri)) == []


def test_another_outcome_and_each_prompt(model: Path, tmp_path: Path) -> None:
    several = submit(model, tmp_path, prompts=2, tokens="each")
    rows = estimate(several, outcome="target_logprob")
    assert rows["prompt"].unique().sort().to_list() == [0, 1]
    assert rows["outcome"].unique().to_list() == ["target_logprob"]
    one, two = (rows.filter(prompt=number, group="all")["effect"] for number in (0, 1))
    assert not one.equals(two)
    assert len(several.effect_null_maxima().collect()) == 2 * 39
    top = several.top("confidence", k=5, sort="effect")
    assert top["r"].null_count() == 0, "of the best position"
    assert damaged_effects(RunFiles(several.uri)) == []


def test_the_commands_print_what_was_found(run: skilljobs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for arguments in (
        ["effects", run.uri, "--dry-run"],
        ["effects", run.uri, "--no-report"],
        ["top", run.uri, "--sort", "effect", "-k", "5", "--format", "json"],
        ["top", run.uri, "--sort", "effect", "--metric", "confidence", "--population", "kind=a"],
        ["verify", run.uri],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        outputs.append(capsys.readouterr().out)
    assert "128 neurons on" in outputs[0]
    assert "null threshold" in outputs[1]
    rows = json.loads(outputs[2])
    sizes = [abs(row["effect_half0"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert all(row["metric"] == "margin" and row["r"] is not None for row in rows)
    assert "r with confidence" in outputs[3]
    assert "as they were written" in outputs[4]


def test_the_benchmark_finds_that_a_small_part_of_the_ablation_is_as_estimated(
    run: skilljobs.Run, tmp_path: Path
) -> None:
    file = tmp_path / "figures.json"
    arguments = [run.uri, "--examples", "8", "--neurons", "12", "--scales", "0.1", "--json", str(file)]
    done = CliRunner().invoke(effects.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    figures = json.loads(file.read_text())["0.1 fixed"]
    assert figures["error"] < 0.2
    assert figures["of_strongest"] > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [({"outcome": "nothing"}, "outcome"), ({"layers": 3}, "no option 'layers'")],
)
def test_bad_input_is_refused(run: skilljobs.Run, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        estimate(run, **options)


def test_bad_questions_are_refused(run: skilljobs.Run, finished: skilljobs.Run) -> None:
    with pytest.raises(InputError, match="skilljobs effects"):
        finished.top("margin", sort="effect")
    with pytest.raises(InputError, match="not estimated within 'within:kind'"):
        run.top("margin", sort="effect", population="within:kind")
    with pytest.raises(InputError, match="--given"):
        run.top("margin", sort="effect", given=["words"])


def test_outcomes_that_are_not_the_run_s_are_named(finished: skilljobs.Run, tmp_path: Path) -> None:
    other = copy_of(finished, tmp_path / "other")
    for part in Path(other.uri, "shards").glob("scores-*.parquet"):
        pl.read_parquet(part).with_columns(pl.col("margin") + 1).write_parquet(part)
    with pytest.raises(JobFailed, match="differs from that of the run"):
        estimate(other)
