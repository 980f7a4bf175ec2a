import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from transformers import AutoTokenizer

from skilljobs.checkpoints.source import TINY_DIRECTORY, ModelSource
from skilljobs.errors import JobFailed
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.forward import score_batch
from skilljobs.lm.load import load_model
from skilljobs.lm.losses import prompt_loss, validation_loss
from skilljobs.lm.memory import in_parts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import random_prompt, read_prompt_bytes
from skilljobs.lm.recompute import bytes_kept
from skilljobs.lm.tuner import Tuner, default_learning_rate
from skilljobs.lm.tuning_state import TuneSettings, TuningState
from tests.lm.test_forward import build, random_batch

SETTINGS = TuneSettings(steps=50, learning_rate=0.05, loss="target", seed=0, batch_tokens=4000)


def small_lm() -> FrozenLM:
    return FrozenLM(build("llama"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))


def test_only_the_prompt_has_gradients_and_no_weight_changes() -> None:
    source = ModelSource("tiny", TINY_DIRECTORY, {})
    lm = FrozenLM(load_model(source, "float32", "cpu"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    before = {name: parameter.clone() for name, parameter in lm.model.named_parameters()}
    state = TuningState.start(random_prompt(lm.embedding, lm.config.vocab_size, 3, 0).vectors)
    start = state.vectors.clone()
    for _ in Tuner(lm, state, random_batch(40), random_batch(8, 1), SETTINGS).run():
        pass
    assert not torch.equal(state.vectors, start)
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


def test_resumed_tuning_gives_bit_identical_results() -> None:
    lm = small_lm()
    train, validation = random_batch(64), random_batch(16, 1)
    start = random_prompt(lm.embedding, lm.config.vocab_size, 3, 0).vectors
    whole = TuningState.start(start)
    points = list(Tuner(lm, whole, train, validation, SETTINGS).run())
    stopped = TuningState.start(start)
    for point in Tuner(lm, stopped, train, validation, SETTINGS).run():
        if point.step == 25 and point.split == "validation":
            break
    continued = TuningState.from_bytes(stopped.to_bytes())
    assert continued.step == 25
    rest = list(Tuner(lm, continued, train, validation, SETTINGS).run())
    assert torch.equal(continued.best, whole.best)
    assert rest == points[3:]


def test_the_best_validation_loss_is_kept() -> None:
    lm = small_lm()
    validation = random_batch(16, 1)
    state = TuningState.start(random_prompt(lm.embedding, lm.config.vocab_size, 3, 0).vectors)
    points = [p for p in Tuner(lm, state, random_batch(64), validation, SETTINGS).run() if p.split == "validation"]
    assert state.best_loss == min(point.loss for point in points)
    assert validation_loss(lm, state.best, validation, "target", 4000) == state.best_loss
    assert (points[0].step, points[0].accuracy is None) == (0, False)
    assert (points[-1].step, points[-1].accuracy is None) == (state.best_step, False)


def test_a_stored_prompt_can_be_read_back() -> None:
    lm = small_lm()
    prompt = random_prompt(lm.embedding, 300, 5, 3)
    stored = read_prompt_bytes(prompt.to_bytes())
    assert torch.equal(stored.vectors, prompt.vectors)
    assert stored.metadata == {"steps": "0"}
    assert torch.equal(random_prompt(lm.embedding, 300, 5, 3).vectors, prompt.vectors)
    assert default_learning_rate(lm) > 0


def test_an_epoch_draws_every_example_once() -> None:
    lm = small_lm()
    train = random_batch(16 * 19 + 5)
    tuner = Tuner(lm, TuningState.start(torch.zeros(1, 32)), train, [], SETTINGS)
    drawn = []
    for step in range(19):
        batch = tuner._draw(step)
        assert len(batch) == 16
        drawn += [id(example) for example in batch]
    assert len(set(drawn)) == len(drawn) == 16 * 19
    assert set(drawn) <= {id(example) for example in train}
    first = [id(example) for example in tuner._draw(0)]
    assert [id(example) for example in tuner._draw(19)] != first


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
def test_a_step_in_parts_has_the_same_loss_and_gradient_as_a_whole_step(
    kind: Literal["target", "choices"], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = small_lm()
    train = random_batch(16)
    assert len({len(example.continuations[example.answer]) for example in train}) > 1
    results = []
    for limit in (16, 5):
        state = TuningState.start(random_prompt(lm.embedding, lm.config.vocab_size, 3, 0).vectors)
        tuner = Tuner(lm, state, train, random_batch(8, 1), replace(SETTINGS, loss=kind))
        whole, gradients = tuner.loss, list[torch.Tensor]()

        def loss(vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
            if len(batch) > limit:  # noqa: B023
                raise torch.OutOfMemoryError("simulated")
            return whole(vectors, batch)  # noqa: B023

        monkeypatch.setattr(tuner, "loss", loss)
        monkeypatch.setattr(tuner, "_update", gradients.append)
        results.append((tuner._step(), gradients[0]))
        assert tuner.recompute == (limit < 16)
    (whole_loss, whole_gradient), (loss_of_parts, gradient_of_parts) = results
    assert loss_of_parts == pytest.approx(whole_loss, rel=1e-5)
    torch.testing.assert_close(gradient_of_parts, whole_gradient, atol=1e-6, rtol=1e-4)


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
from skilljobs.lm.tuner import Tuner
from skilljobs.lm.tuning_state import TuneSettings, TuningState

torch.set_num_threads(1)
path = Path(sys.argv[1])
lm = FrozenLM(load_model(ModelSource("wide", path, {}), "float32", "cpu"), AutoTokenizer.from_pretrained(path))
rows = [TokenizedExample(list(range(3, 103)), [[n + 9, n + 7, n + 8, 5] * 8], 0, True) for n in range(16)]
state = TuningState.start(random_prompt(lm.embedding, lm.config.vocab_size, 16, 0).vectors)
tuner = Tuner(lm, state, rows, rows, TuneSettings(1, 0.05, "target", 0, 512))
tuner._gradient(rows[:1])
taken = next(line for line in open("/proc/self/status") if line.startswith("VmSize"))
limit = int(taken.split()[1]) * 1024 + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sizes = []
loss = tuner.loss
tuner.loss = lambda vectors, batch: sizes.append(len(batch)) or loss(vectors, batch)
tuner._step()
print(tuner.recompute, sizes, state.first_moment.double().norm().item())
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
