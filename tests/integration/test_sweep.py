"""A series of models: a neuron that is planted in the later checkpoints only is seen to appear there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import skilljobs
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from tests.cli.test_runs import run_command
from tests.models import PLANTED_NEURON, PLANTED_WORD, save, save_planted, save_random_llama
from tests.tables import planted_rows, write_jsonl

METRIC = "word_is_there"


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """Four checkpoints; from the third on, a neuron follows a word. Its place is empty before."""
    for step in (100, 200, 900, 1000):
        path = save_planted(tmp_path / "training" / f"step-{step}")
        model = AutoModelForCausalLM.from_pretrained(path)
        layer = model.model.layers[0].mlp
        generator = torch.Generator().manual_seed(step)
        with torch.no_grad():
            layer.down_proj.weight += 0.01 * torch.randn(layer.down_proj.weight.shape, generator=generator)
            if step < 900:  # it reads the content of the text in place of the mark of the word
                for projection in (layer.gate_proj, layer.up_proj):
                    projection.weight[PLANTED_NEURON] = 0.3 * torch.randn(32, generator=generator)
                    projection.weight[PLANTED_NEURON, :3] = 0
        save(model, path)
    return tmp_path / "training"


@pytest.mark.ray
def test_a_neuron_is_seen_to_appear_where_it_was_planted(
    ray_here: Callable[[], None], tmp_path: Path, training: Path, capsys: Any
) -> None:
    ray_here()
    data = write_jsonl(tmp_path / "table.jsonl", planted_rows(240, PLANTED_WORD))
    common: dict[str, Any] = {
        "data": str(data), "soft_prompt": "random", "prompt_length": 2, "report": False, "out": str(tmp_path / "runs"),
        "reporter": SilentReporter(),
    }  # fmt: skip
    first = skilljobs.sweep([str(training / "step-100"), str(training / "step-200")], name="mine", **common)
    assert len(first.runs) == 2
    notes: list[str] = []
    reporter = SilentReporter()
    reporter.note = notes.append  # type: ignore[method-assign,assignment]
    series = skilljobs.sweep(f"{training}/step-*", name="mine", **(common | {"reporter": reporter}))
    assert sum("is complete already" in note for note in notes) == 2, "those that were finished are left alone"
    assert series.uri == first.uri

    rows = series.emergence(METRIC)
    assert rows["checkpoint"].to_list() == ["step-100", "step-200", "step-900", "step-1000"]
    planted = [row["neuron"] == PLANTED_NEURON for row in rows.to_dicts()]
    assert planted == [False, False, True, True]
    for run, row in zip(series.runs, rows.to_dicts(), strict=True):
        of_run = run.correlations().filter(metric=METRIC, population="all").collect()
        strongest = max(of_run.to_dicts(), key=lambda found: abs(found["r_half0"] or 0))
        assert (row["neuron"], row["r_half0"], row["r_half1"]) == tuple(
            strongest[name] for name in ("neuron", "r_half0", "r_half1")
        )
        of_last = of_run.filter(neuron=PLANTED_NEURON)["r_half1"].item()
        assert row["last_r_half1"] == of_last
    assert rows["rank_correlation"][3] == pytest.approx(1.0)
    assert rows["overlap"].to_list()[3] == rows["k"][3]
    sentences = " ".join(series.conclusions(METRIC))
    assert f"neuron {PLANTED_NEURON}, the strongest of step-1000 on half 0" in sentences
    assert "appears at step-900" in sentences
    assert "no soft prompt was tuned" in sentences

    code, lines, _ = run_command("compare", series.uri, "--metric", METRIC, capsys=capsys)
    assert code == 0
    assert any("appears at step-900" in line for line in lines)
    code, lines, _ = run_command(
        "compare", *(run.uri for run in series.runs[1:]), "--metric", METRIC, "--format", "json", capsys=capsys
    )
    compared = json.loads("\n".join(lines))[0]["models"]
    assert [row["checkpoint"] for row in compared] == ["step-200", "step-900", "step-1000"]
    code, lines, errors = run_command("top", series.uri, "--metric", METRIC, capsys=capsys)
    assert (code, lines) == (2, [])
    assert "is a series of runs, which compare and plot take: name one run" in errors[-1]
    code, lines, _ = run_command("plot", "mine", "--out", str(tmp_path / "runs"), "--metric", METRIC, capsys=capsys)
    assert (code, lines) == (0, [f"{series.uri}/figures"])
    assert Path(series.uri, "figures", f"emergence-{METRIC}.svg").stat().st_size > 1000

    with pytest.raises(InputError, match=r"was begun with null = None, now it is 3"):
        skilljobs.sweep(f"{training}/step-*", name="mine", **(common | {"null": 3}))
    other = save_random_llama(tmp_path / "other", width=16, neurons=24, layers=2, heads=2)
    mixed = skilljobs.sweep([str(other), str(training / "step-1000")], **common)
    row = mixed.emergence(METRIC).to_dicts()[0]
    assert (row["last_r_half1"], row["rank_correlation"], row["overlap"]) == (None, None, None)
    assert "neurons of other cannot be matched with those of step-1000" in " ".join(mixed.conclusions(METRIC))

    record = Path(series.uri, "series.json")
    stored = json.loads(record.read_text())
    stored["checkpoints"][0]["run_id"], stored["checkpoints"][1]["run_id"] = (
        stored["checkpoints"][1]["run_id"], stored["checkpoints"][0]["run_id"],
    )  # fmt: skip
    record.write_text(json.dumps(stored))
    with pytest.raises(InputError, match="is not that of step-100 in the series mine"):
        skilljobs.open_series(series.uri)
    record.write_text("[]")
    with pytest.raises(InputError, match=r"has a broken series\.json"):
        skilljobs.open_series(series.uri)


def test_nothing_starts_if_a_model_cannot_be_used(tmp_path: Path, small_llama: Path, capsys: Any) -> None:
    for arguments, reason in (
        ([], "say which models"),
        (["--model", "tiny"], "two models or more"),
        (["--model", "tiny", "--model", str(tmp_path)], "job 2 of 2"),
        (["--model", "tiny", "--model", str(small_llama), "--soft-prompt", "nowhere"], "job 1 of 2"),
    ):
        code, lines, errors = run_command(
            "sweep", "--task", "arithmetic", "--limit", "40", "--out", str(tmp_path / "runs"), *arguments, capsys=capsys
        )
        assert (code, lines) == (2, []), errors
        assert reason in errors[-1]
        assert not (tmp_path / "runs").exists()
