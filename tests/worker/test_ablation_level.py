"""Sets from rankings of noise are inside their controls where a real model is silenced."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from skilljobs.lm.model import FrozenLM
from skilljobs.lm.neuron_sets import Change, PlacedSet, score_sets, texts_before
from skilljobs.lm.position_kinds import kind_count
from skilljobs.neurons.interventions import output_norms
from skilljobs.stats.controls import Traits, matched_controls, p_among, shared_part
from skilljobs.stats.neurons import NeuronName
from tests.lm.test_forward import random_batch
from tests.models import save_random_llama

LENGTH, LAYERS, WIDTH, DRAWS, SIZE, REPETITIONS = 2, 2, 400, 20, 4, 200


def test_sets_from_rankings_of_noise_are_inside_their_controls(tmp_path: Path) -> None:
    path = save_random_llama(tmp_path / "model", width=16, neurons=WIDTH, layers=LAYERS, heads=2)
    lm = FrozenLM(AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path))
    batch, prompt = random_batch(4), torch.randn(LENGTH, 16, generator=torch.Generator().manual_seed(0))
    norms = np.concatenate([output_norms(layer.sites[0]).numpy() for layer in lm.sites])
    known = Traits.of(np.repeat(np.arange(LAYERS), WIDTH), np.random.default_rng(0).lognormal(size=len(norms)), norms)
    texts = texts_before(lm, prompt, batch, everywhere=False)
    zero = Change(0.0, lambda _, places: torch.zeros(1, len(places), kind_count(LENGTH)))

    def scores(sets: list[np.ndarray]) -> np.ndarray:
        names = [[NeuronName(int(place) // WIDTH, None, int(place) % WIDTH) for place in chosen] for chosen in sets]
        placed = [PlacedSet.of(lm, chosen) for chosen in names]
        sums = score_sets(lm, prompt, batch, placed, zero, texts).log_probabilities
        right = [float(row[batch[place % len(batch)].answer]) for place, row in enumerate(sums)]
        return np.array(right).reshape(len(sets), len(batch)).mean(1)

    hits = 0
    for repetition in range(REPETITIONS):
        ranking = np.random.default_rng(repetition).normal(size=len(norms))
        chosen = np.argsort(-np.abs(ranking))[:SIZE]
        controls = matched_controls(chosen.tolist(), known, DRAWS, repetition)
        effects = scores([chosen, *controls])
        hits += bool(p_among(effects[:1], effects[1:, None], shared_part(controls))[0] <= 0.05)
    assert hits <= 17
    assert hits > 0, "p can be small"
