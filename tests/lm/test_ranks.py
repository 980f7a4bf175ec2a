"""Two ranks that hold a model together, against one process, without Ray."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.hooks import RemovableHandle

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError, JobFailed
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.forward import score_batch
from skilljobs.lm.memory import CPU_ERROR, in_parts
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.ranks import ALONE, Ranks
from skilljobs.lm.tuning_rounds import TuneSettings
from skilljobs.lm.vocabulary import token_effects
from skilljobs.neurons.shares import refuse_no_partition
from skilljobs.neurons.sites import Keep, LayerSites, Site, Window
from skilljobs.selection import Selection
from skilljobs.stats.neurons import LayerNeurons, NeuronName
from skilljobs.store.tuning_state import TuningState
from skilljobs.worker.model_check import load_checked
from tests.shared_models import SHAREABLE, run_as_ranks, save_random
from tests.tuning import objective, tune

STEPS = 4
OF_SECOND_RANK = 90
"""The number of a neuron."""


def batch_of_two() -> list[TokenizedExample]:
    texts = [[5 + 7 * place % 200 for place in range(20)], [11 + 5 * place % 200 for place in range(11)]]
    return [TokenizedExample(text, [[9, 8, 7], [9, 7]], 0, True) for text in texts]


def look(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Everything that is read of a model, and a prompt that is tuned for a few steps."""
    path, prompt = folder / "model", torch.full((2, 64), 0.1)
    source = ModelSource("model", path, json.loads((path / "config.json").read_text()))
    lm, error = load_checked(source, "float32", "cpu", None, Selection(), ranks)
    scored = score_batch(lm, prompt, batch_of_two(), "each")
    state = TuningState.start(prompt.numpy())
    settings = TuneSettings(STEPS, "target", 0, 512, parts=2)
    tune(objective(lm, batch_of_two(), batch_of_two(), settings), state)
    expert = 1 if lm.neurons[0].experts else None
    names = [
        NeuronName(0, None, 3),
        NeuronName(1, expert, lm.neurons[1].neurons_per_expert - 1 if expert else OF_SECOND_RANK),
    ]
    return {
        "error": error,
        "neurons": lm.neurons,
        "places": [np.arange(site.neurons.count) if site.places is None else site.places for site in lm.sites],
        "activations": scored.activations,
        "scores": torch.cat(scored.log_probabilities),
        "tuned": torch.from_numpy(state.vectors),
        "effects": token_effects(lm, names, 3),
        "set aside": _score_with_nan(lm, prompt),
        "out of memory": _run_out_of_memory(),
    }


def _score_with_nan(lm: FrozenLM, prompt: torch.Tensor) -> dict[int, int | None]:
    """The examples that are not finite if the last rank reads NaN for the second one in layer 1."""
    if lm.ranks.rank == lm.ranks.count - 1:
        lm.sites[1] = replace(lm.sites[1], sites=tuple(map(WithNan, lm.sites[1].sites)))
    return score_batch(lm, prompt, batch_of_two(), "mean").not_finite


def _run_out_of_memory() -> str:
    def run(part: list[int]) -> None:
        if len(part) > 1:
            raise RuntimeError(CPU_ERROR)

    try:
        return str(len(list(in_parts([0, 1], run))))
    except JobFailed as error:
        return str(error)


@dataclass
class WithNan:
    """A site that gives NaN for the second example of a batch."""

    site: Site

    def read(self, window: Window, keep: Keep) -> RemovableHandle:
        def keep_nan(values: torch.Tensor) -> None:
            values = values.clone()
            values[1] = torch.nan
            keep(values)

        return self.site.read(window, keep_nan)

    def output_direction(self, neuron: int) -> torch.Tensor | None:
        return self.site.output_direction(neuron)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAREABLE)
def test_ranks_read_and_tune_what_one_process_does(tmp_path: Path, name: str) -> None:
    save_random(tmp_path / "model", SHAREABLE[name]())
    alone, ranks = look(ALONE, tmp_path), run_as_ranks(look, tmp_path)
    for number, neurons in enumerate(alone["neurons"]):
        places = np.concatenate([rank["places"][number] for rank in ranks])
        assert sorted(places.tolist()) == list(range(neurons.count)), "each neuron is read by one rank"
    for rank in ranks:
        assert rank["neurons"] == alone["neurons"]
        assert rank["error"] < 1e-5
        for places, found, expected in zip(rank["places"], rank["activations"], alone["activations"], strict=True):
            torch.testing.assert_close(found, expected[..., torch.from_numpy(places)], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(rank["scores"], alone["scores"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(rank["tuned"], alone["tuned"], rtol=1e-4, atol=1e-5)
        for effect, expected in zip(rank["effects"], alone["effects"], strict=True):
            assert (effect.neuron, effect.expert, effect.token) == (expected.neuron, expected.expert, expected.token)
            assert effect.logit == pytest.approx(expected.logit, abs=1e-4)
        # the second rank reads no neuron of Phi-3, and so no NaN
        assert rank["set aside"] == ({} if name == "phi3" else {1: 1}), "on all ranks, though one alone has seen it"
        assert "cannot split" in rank["out of memory"]
    assert torch.equal(ranks[0]["tuned"], ranks[1]["tuned"])
    assert torch.equal(ranks[0]["scores"], ranks[1]["scores"])
    held = [sum(map(len, rank["places"])) for rank in ranks]
    assert held[1] == (0 if name == "phi3" else 96), "what each rank reads is taken from how its weights are laid out"


@pytest.mark.parametrize("of_second", [[2, 3], [1, 2], [3]])
def test_a_neuron_of_no_rank_or_of_two_is_refused(of_second: list[int]) -> None:
    layer = LayerSites(torch.nn.Identity(), LayerNeurons(5, 4), ())
    shares = [[np.array([0, 1])], [np.array(of_second)]]
    if of_second == [2, 3]:
        refuse_no_partition(shares, [layer])
        return
    with pytest.raises(InputError, match=r"do not share the 4 neurons of layer 5 so that each belongs to one"):
        refuse_no_partition(shares, [layer])
