import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from skilljobs.checkpoints.source import TINY_DIRECTORY, ModelSource
from skilljobs.errors import JobFailed
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.forward import score_batch
from skilljobs.lm.load import load_model
from skilljobs.lm.losses import example_losses, prompt_loss, right_answers
from skilljobs.lm.memory import in_parts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import random_prompt, read_prompt_bytes
from skilljobs.lm.prompt_objective import PromptObjective, default_learning_rate
from skilljobs.lm.recompute import bytes_kept
from skilljobs.lm.tuning_rounds import PartAnswers, PartGradient, PartLosses, PartResult, TuneSettings, TuningRound
from tests.lm.test_forward import build, random_batch
from tests.tuning import first_state, objective, tune

SETTINGS = TuneSettings(steps=50, loss="target", seed=0, batch_tokens=4000)


def small_lm() -> FrozenLM:
    return FrozenLM(build("llama"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))


def test_only_the_prompt_has_gradients_and_no_weight_changes() -> None:
    source = ModelSource("tiny", TINY_DIRECTORY, {})
    lm = FrozenLM(load_model(source, "float32", "cpu"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    before = {name: parameter.clone() for name, parameter in lm.model.named_parameters()}
    state = first_state(lm)
    start = state.vectors.copy()
    tune(objective(lm, random_batch(40), random_batch(8, 1), SETTINGS), state)
    assert not np.array_equal(state.vectors, start)
    for name, parameter in lm.model.named_parameters():
        assert parameter.grad is None, name
        assert torch.equal(parameter, before[name]), name


def test_loss_agrees_with_the_scores_and_its_gradient_with_a_plain_forward_pass() -> None:
    lm = small_lm()
    batch = random_batch(6)
    vectors = torch.randn(4, 32, requires_grad=True)
    scored = score_batch(lm, vectors.detach(), batch, None)
    right = [sums[example.answer] for sums, example in zip(scored.log_probabilities, batch, strict=True)]
    tokens = sum(len(example.continuations[example.answer]) for example in batch)
    loss = prompt_loss(lm, vectors, batch, "target")
    torch.testing.assert_close(loss.double(), -torch.stack(right).sum() / tokens, atol=1e-5, rtol=1e-5)
    choices = prompt_loss(lm, vectors, batch, "choices")
    expected = [
        -torch.log_softmax(sums, 0)[example.answer]
        for sums, example in zip(scored.log_probabilities, batch, strict=True)
    ]
    torch.testing.assert_close(choices.double(), torch.stack(expected).mean(), atol=1e-4, rtol=1e-4)

    embed = lm.model.get_input_embeddings()
    total = torch.zeros(())
    for example in batch:
        after = example.continuations[example.answer]
        whole = torch.cat([embed(torch.tensor(example.text)), vectors, embed(torch.tensor(after))])[None]
        scores = lm.model(inputs_embeds=whole, use_cache=False).logits[0].log_softmax(-1)
        total = total - scores[-len(after) - 1 : -1].gather(1, torch.tensor(after)[:, None]).sum()
    (expected_gradient,) = torch.autograd.grad(total / tokens, vectors)
    (gradient,) = torch.autograd.grad(loss, vectors)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-5, rtol=1e-4)


def test_a_stored_prompt_can_be_read_back() -> None:
    lm = small_lm()
    prompt = random_prompt(lm.embedding, 300, 5, 3)
    stored = read_prompt_bytes(prompt.to_bytes())
    assert torch.equal(stored.vectors, prompt.vectors)
    assert stored.metadata == {"steps": "0"}
    assert torch.equal(random_prompt(lm.embedding, 300, 5, 3).vectors, prompt.vectors)
    assert default_learning_rate(lm) > 0


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "gpt-neox"])
def test_recomputing_activations_gives_the_same_gradient_and_keeps_less_memory(name: str) -> None:
    lm = FrozenLM(build(name, window=64), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    batch = random_batch(6)
    vectors = torch.randn(4, 32, requires_grad=True)

    def loss(recompute: bool) -> torch.Tensor:
        return prompt_loss(lm, vectors, batch, "choices", recompute)

    (expected,), (recomputed,) = (torch.autograd.grad(loss(recompute), vectors) for recompute in (False, True))
    assert torch.equal(recomputed, expected)
    assert bytes_kept(lm.model, lambda: loss(True)) < bytes_kept(lm.model, lambda: loss(False)) / 3
    assert not any("forward" in vars(module) for module in lm.model.modules())


@pytest.mark.parametrize("kind", ["target", "choices"])
def test_parts_that_are_halved_for_memory_have_the_same_loss_and_gradient(
    kind: Literal["target", "choices"], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = small_lm()
    train = random_batch(16)
    assert len({len(example.continuations[example.answer]) for example in train}) > 1
    results = []
    for limit in (16, 5):
        of = objective(lm, train, random_batch(8, 1), replace(SETTINGS, loss=kind))
        whole = of.loss

        def loss(vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
            if len(batch) > limit:  # noqa: B023
                raise torch.OutOfMemoryError("simulated")
            return whole(vectors, batch)  # noqa: B023

        monkeypatch.setattr(of, "loss", loss)
        results.append(gradient_of(of, lm))
        assert of.recompute == (limit < 16)
        part = of.of_part(TuningRound("gradient", first_state(lm).vectors), 0)
        assert isinstance(part, PartGradient)
        assert part.was_halved == (limit < 16)
    (whole_loss, whole_gradient), (loss_of_parts, gradient_of_parts) = results
    assert loss_of_parts == pytest.approx(whole_loss, rel=1e-5)
    np.testing.assert_allclose(gradient_of_parts, whole_gradient, atol=1e-6, rtol=1e-4)


def gradient_of(of: PromptObjective, lm: FrozenLM, step: int = 0) -> tuple[float, np.ndarray[Any, Any]]:
    """The loss of a step and its gradient, from those of its parts."""
    asked = TuningRound("gradient", first_state(lm).vectors, step)
    parts = [of.of_part(asked, part) for part in range(of.settings.parts)]
    found = [part for part in parts if isinstance(part, PartGradient)]
    terms = sum(part.terms for part in found)
    loss = sum(part.terms * part.loss for part in found) / terms
    return loss, np.asarray(sum(part.terms * part.gradient for part in found)) / terms


@pytest.mark.parametrize("kind", ["target", "choices"])
@pytest.mark.parametrize("count", [16, 3])
def test_parts_make_the_whole_step(kind: Literal["target", "choices"], count: int) -> None:
    """Of three examples, one of the four parts is empty."""
    lm, train = small_lm(), random_batch(count)
    settings = replace(SETTINGS, loss=kind)
    (loss, gradient), (loss_of_parts, gradient_of_parts) = (
        gradient_of(objective(lm, train, [], replace(settings, parts=parts)), lm) for parts in (1, 4)
    )
    assert loss_of_parts == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(gradient_of_parts, gradient, atol=1e-6, rtol=1e-4)


def told_by(part: PartResult) -> list[tuple[str, float | bool | None]]:
    """What a part of the validation examples says of each."""
    assert isinstance(part, PartLosses | PartAnswers)
    values = part.losses if isinstance(part, PartLosses) else part.are_right
    return list(zip(part.example_ids, values, strict=True))


def test_validation_parts_have_every_example_once() -> None:
    lm, validation = small_lm(), random_batch(21, 1)
    vectors = first_state(lm).vectors
    of = objective(lm, random_batch(16), validation, replace(SETTINGS, parts=4))
    parts = [of.of_part(TuningRound("losses", vectors), part) for part in range(8)]
    losses = {name: loss for part in parts for name, loss in told_by(part)}
    expected = example_losses(lm, torch.from_numpy(vectors), validation, "target", 4000)
    assert [losses[f"val-{place}"] for place in range(21)] == pytest.approx(expected, rel=1e-5)
    expected_answers = right_answers(lm, torch.from_numpy(vectors), validation, 4000)
    answers = [of.of_part(TuningRound("answers", vectors), part) for part in range(8)]
    given = {name: is_right for part in answers for name, is_right in told_by(part)}
    assert [given[f"val-{place}"] for place in range(21)] == expected_answers
    assert set(expected_answers) == {True, False}


def test_a_part_goes_on_without_an_example_that_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, train = small_lm(), random_batch(4)
    asked = TuningRound("gradient", first_state(lm).vectors)
    of = objective(lm, train, [], SETTINGS)
    whole, bad = of.loss, train[2]

    def loss(vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
        return whole(vectors, batch) * (torch.nan if any(example is bad for example in batch) else 1.0)

    monkeypatch.setattr(of, "loss", loss)
    found = of.of_part(asked, 0)
    without = objective(lm, [example for example in train if example is not bad], [], SETTINGS)
    expected = without.of_part(asked, 0)
    assert isinstance(found, PartGradient)
    assert isinstance(expected, PartGradient)
    assert (found.left_out, found.terms) == (("train-2",), expected.terms)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    monkeypatch.setattr(
        of, "loss", lambda vectors, batch: whole(vectors, batch) * (torch.nan if len(batch) > 1 else 1.0)
    )
    together = of.of_part(asked, 0)
    monkeypatch.setattr(of, "loss", whole)
    usual = of.of_part(asked, 0)
    assert isinstance(together, PartGradient)
    assert isinstance(usual, PartGradient)
    assert (together.left_out, together.terms) == ((), usual.terms)
    assert together.loss == pytest.approx(usual.loss, rel=1e-5)
    np.testing.assert_allclose(together.gradient, usual.gradient, atol=1e-6, rtol=1e-4)
    monkeypatch.setattr(of, "loss", lambda vectors, batch: whole(vectors, batch) * torch.nan)
    nothing = of.of_part(asked, 0)
    assert isinstance(nothing, PartGradient)
    assert (nothing.loss, nothing.terms, len(nothing.left_out)) == (0.0, 0, 4)
    assert not nothing.gradient.any()


def test_an_example_too_large_for_memory_fails_with_advice() -> None:
    with pytest.raises(JobFailed, match=r"one example \(DefaultCPUAllocator: .* 4000000000000000 bytes.*bfloat16$"):
        list(in_parts([7], lambda _: torch.empty(10**15)))


IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import torch
from transformers import AutoTokenizer
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.load import load_model
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import random_prompt
from skilljobs.checkpoints.source import ModelSource
from skilljobs.lm.prompt_objective import PromptObjective, TuningExamples
from skilljobs.lm.tuning_rounds import TuneSettings, TuningRound

torch.set_num_threads(1)
path = Path(sys.argv[1])
lm = FrozenLM(load_model(ModelSource("wide", path, {}), "float32", "cpu"), AutoTokenizer.from_pretrained(path))
rows = [TokenizedExample(list(range(3, 103)), [[n + 9, n + 7, n + 8, 5] * 8], 0, True) for n in range(16)]
vectors = random_prompt(lm.embedding, lm.config.vocab_size, 16, 0).vectors.numpy()
examples = TuningExamples(rows, list(map(str, rows)), 16, lambda places: [rows[place] for place in places], str)
of = PromptObjective(lm, examples, TuneSettings(1, "target", 0, 512))
of._gradient(torch.from_numpy(vectors), rows[:1])
taken = next(line for line in open("/proc/self/status") if line.startswith("VmSize"))
limit = int(taken.split()[1]) * 1024 + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sizes = []
loss = of.loss
of.loss = lambda vectors, batch: sizes.append(len(batch)) or loss(vectors, batch)
part = of.of_part(TuningRound("gradient", vectors), 0)
print(of.recompute, sizes[1:], float((part.gradient.astype("float64") ** 2).sum() ** 0.5))
"""


def test_a_step_that_does_not_fit_in_memory_recomputes_and_is_split(wide_llama: Path) -> None:
    """Under a real memory limit, a step runs whole if it fits; otherwise it recomputes, and then runs in parts."""
    outputs = []
    for megabytes in (4000, 30):
        done = subprocess.run(
            [sys.executable, "-c", IN_LITTLE_MEMORY, str(wide_llama), str(megabytes)],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        outputs.append(done.stdout.strip())
    assert outputs[0].startswith("False [16]")
    assert outputs[1].startswith("True [16, 16, 8")
    gradients = [float(line.rpartition(" ")[2]) for line in outputs]
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-4)
