"""Scoring a batch with sets of neurons changed: the same examples once for each set, side by side.

Where neurons are changed at the soft prompt only, what comes before is the same for all sets and is read once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.cached_texts import CachedTexts, read_texts, whole_texts
from skilljobs.lm.forward import ScoredBatch
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.passes import continuation_log_probabilities
from skilljobs.lm.position_kinds import only_prompt
from skilljobs.lm.transfer import HostCopy
from skilljobs.neurons.changes import SiteChange
from skilljobs.neurons.interventions import Intervention
from skilljobs.neurons.sites import Site
from skilljobs.stats.neurons import NeuronName

Shift = Callable[[int, torch.Tensor], torch.Tensor]
"""Given the place of a layer among those that are read and places of M neurons in arrays over it (int64, on the
model's device), what is added to the neurons' activations: rows x M x kinds of position, with one row for each example
of the batch, or a single one for all."""


@dataclass(frozen=True)
class Change:
    """What becomes of an activation: `scale * activation + shift`. `everywhere`: whether also in texts and answers."""

    scale: float
    shift: Shift
    everywhere: bool = False


@dataclass(frozen=True)
class PlacedSet:
    """A set of neurons, by the places of their layers and sites: the neurons' places in arrays over the layer."""

    places: dict[tuple[int, int], torch.Tensor]

    @classmethod
    def of(cls, lm: FrozenLM, neurons: Sequence[NeuronName]) -> "PlacedSet":
        """Find the neurons of a set in a model; each counts once.

        Raises:
            LookupError: one of them is not read.
        """
        places: dict[tuple[int, int], list[int]] = {}
        for name in dict.fromkeys(neurons):
            layer, place = lm.place(name)
            site = int(name.expert is not None and lm.neurons[layer].dense > 0)
            places.setdefault((layer, site), []).append(place)
        return cls({key: torch.tensor(found, device=lm.device) for key, found in places.items()})


@torch.inference_mode()
def score_sets(
    lm: FrozenLM,
    prompt: torch.Tensor,
    batch: Sequence[TokenizedExample],
    sets: Sequence[PlacedSet],
    change: Change,
    texts: CachedTexts,
) -> ScoredBatch:
    """Score the continuations of `batch` once with each set changed; the examples of the first set come first.

    `prompt` is P x d_model on the model's device, in its dtype; `texts` is what `texts_before` made of the batch.
    """
    intervention = _AtKinds(site_changes(lm, len(batch), sets, change), change.everywhere, len(prompt))
    cache = texts.copied_cache(len(sets))
    with intervention:
        scores = continuation_log_probabilities(
            lm, texts.ids, texts.mask, prompt, batch, cache, copies=len(sets), watcher=intervention
        )
    counts = [[len(tokens) for tokens in example.continuations] for example in batch]
    return ScoredBatch([], HostCopy(scores), counts * len(sets))


@torch.inference_mode()
def texts_before(
    lm: FrozenLM, prompt: torch.Tensor, batch: Sequence[TokenizedExample], everywhere: bool
) -> CachedTexts:
    """What all sets have in common: the texts, read up to the first position where something is changed."""
    return whole_texts(lm, batch) if everywhere else read_texts(lm, batch, unread=0 if len(prompt) else 1)


def site_changes(lm: FrozenLM, rows: int, sets: Sequence[PlacedSet], change: Change) -> list[tuple[Site, SiteChange]]:
    """The changes of `sets` in as many copies of a batch of `rows` rows."""
    found: dict[tuple[int, int], list[tuple[int, torch.Tensor]]] = {}
    for copy, placed in enumerate(sets):
        for key, places in placed.places.items():
            found.setdefault(key, []).append((copy, places))
    changes = []
    for (layer, site), parts in sorted(found.items(), key=lambda item: item[0]):
        places = torch.cat([part for _, part in parts])
        copies = torch.cat([torch.full_like(part, copy) for copy, part in parts])
        row = torch.arange(rows, device=places.device)
        shift = change.shift(layer, places).expand(rows, -1, -1)
        before = lm.neurons[layer].dense if site == 1 else 0
        changes.append(
            (
                lm.sites[layer].sites[site],
                SiteChange(
                    rows=(copies[None, :] * rows + row[:, None]).flatten(),
                    columns=(places - before).expand(rows, -1).flatten(),
                    scale=change.scale,
                    shift=shift.flatten(0, 1),
                ),
            )
        )
    return changes


class _AtKinds(Intervention):
    """An intervention at all positions that have a kind, or at those of the soft prompt alone."""

    def __init__(self, changes: Sequence[tuple[Site, SiteChange]], everywhere: bool, prompt_length: int) -> None:
        super().__init__(changes)
        self._everywhere, self._prompt_length = everywhere, prompt_length

    def begin_pass(self, kinds: torch.Tensor, owners: torch.Tensor | None = None) -> None:
        """See `PassWatcher`."""
        super().begin_pass(kinds if self._everywhere else only_prompt(kinds, self._prompt_length), owners)
