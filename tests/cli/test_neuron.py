"""`skilljobs neuron` loads what a run used, and nothing else."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch

from skilljobs.analysis.neuron_card import NeuronCard
from skilljobs.cli.neuron import TOKENS_SHOWN, _with_tokens
from skilljobs.lm.load import load_model, load_tokenizer
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.vocabulary import token_effects
from skilljobs.pipeline.opening import planned_fields
from skilljobs.plan.job_plan import plan_job
from skilljobs.spec import JobSpec
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.record import Fingerprint, ModelFacts
from tests.lm.test_adapter import save_adapter

NEURON = NeuronName(1, None, 3)
CARD = NeuronCard(NEURON, None, pl.DataFrame(), {}, [], [], [], [])


def run_of(spec: JobSpec) -> Any:
    plan = plan_job(spec)
    record = SimpleNamespace(
        spec=plan.spec.as_json(),
        job_spec=plan.spec,
        fingerprint=Fingerprint.of(planned_fields(plan)),
        model=ModelFacts(name=plan.source.name, commit=plan.source.revision),
        numerics=None,
    )
    return SimpleNamespace(prompts=lambda: [SimpleNamespace(record=record)])


def spec(model: Path, **options: Any) -> JobSpec:
    return JobSpec(task="arithmetic", model=str(model), soft_prompt="random", limit=8, **options)


def test_the_tokens_are_those_of_the_model_with_its_adapter(small_llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(small_llama, tmp_path / "adapter")
    run = run_of(spec(small_llama, adapter=str(adapter)))
    card = _with_tokens(run, CARD)
    source = plan_job(spec(small_llama, adapter=str(adapter))).source
    lm = FrozenLM(load_model(source, "float32", "cpu"), load_tokenizer(source))
    expected = [(effect.token, effect.logit) for effect in token_effects(lm, [NEURON], TOKENS_SHOWN)]
    assert card.promoted + card.suppressed == expected
    assert card.promoted != _with_tokens(run_of(spec(small_llama)), CARD).promoted


def test_another_adapter_is_not_loaded(
    small_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(spec(small_llama, adapter=str(save_adapter(small_llama, tmp_path / "adapter"))))
    save_adapter(small_llama, tmp_path / "adapter", seed=1)
    monkeypatch.setattr(torch, "load", None)
    assert _with_tokens(run, CARD) is CARD
    assert "is not the one that the run used" in capsys.readouterr().err


def test_code_of_a_model_is_not_run_for_a_run_that_was_made_with_it(
    small_llama: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(spec(small_llama, trust_remote_code=True))
    monkeypatch.setattr("skilljobs.lm.load.load_model", None)
    assert _with_tokens(run, CARD) is CARD
    assert "reading a run runs no code" in capsys.readouterr().err
