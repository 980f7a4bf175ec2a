"""Reading activations without scoring anything."""

from collections.abc import Sequence

import torch

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.masked import masked_states, prompt_window
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.padding import left_padded, text_positions
from skilljobs.neurons.sites import TokenMode, Window, capture_activations


@torch.inference_mode()
def read_activations(
    lm: FrozenLM, prompt: torch.Tensor, batch: Sequence[TokenizedExample], tokens: TokenMode
) -> list[torch.Tensor]:
    """Return the activations of all neurons at the prompt positions for the texts of `batch`.

    `prompt` is P x d_model on the model's device, in its dtype. The result is one float64 tensor per layer, batch x
    tokens x neurons.
    """
    if lm.is_masked:
        with capture_activations(lm.sites, prompt_window(lm, len(batch), len(prompt), tokens)) as activations:
            masked_states(lm, prompt, batch)
        return activations
    ids, mask = left_padded([example.text for example in batch], 0, lm.device)
    mask = torch.nn.functional.pad(mask, (0, len(prompt)), value=True)
    embeddings = torch.cat([lm.embed(ids), prompt.expand(len(ids), -1, -1)], 1)
    window = Window(len(ids), slice(-max(1, len(prompt)), None), tokens)
    with capture_activations(lm.sites, window) as activations:
        lm.run_body(embeddings, mask, text_positions(mask), lm.new_cache())
    return activations
