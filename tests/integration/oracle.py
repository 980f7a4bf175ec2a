"""What skilljobs computes, done the slow way: plain transformers, one example at a time, numpy in float64."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from skilljobs.tasks.base import Example


class PlainModel:
    """A forward of text, prompt and continuation in one piece, with hooks that keep every activation.

    `chat_end`: what ends an answer in a chat, whose texts have all of their special tokens.
    """

    def __init__(self, directory: Path, chat_end: str | None = None) -> None:
        self.chat_end = chat_end
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.layers = [layer.mlp.down_proj for layer in self.model.model.layers]

    @torch.no_grad()
    def run(self, text: str, prompt: torch.Tensor, continuation: str) -> tuple[np.ndarray, float]:
        """Activations at the prompt positions (layers x positions x neurons, float64) and the log-probability."""
        before = self.tokenizer(text, add_special_tokens=self.chat_end is None).input_ids
        end = self.tokenizer.convert_tokens_to_ids(self.chat_end or self.tokenizer.eos_token)
        after = [*self.tokenizer(continuation, add_special_tokens=False).input_ids, end]
        embed = self.model.get_input_embeddings()
        pieces = [embed(torch.tensor(before)), prompt, embed(torch.tensor(after))]
        kept: list[torch.Tensor] = []
        hooks = [layer.register_forward_pre_hook(lambda _, given: kept.append(given[0][0])) for layer in self.layers]
        logits = self.model(inputs_embeds=torch.cat(pieces)[None]).logits[0]
        for hook in hooks:
            hook.remove()
        start = len(before) + len(prompt)
        scores = logits.log_softmax(-1)[start - 1 : -1].gather(1, torch.tensor(after)[:, None])
        positions = slice(len(before), start) if len(prompt) else slice(len(before) - 1, len(before))
        return torch.stack(kept)[:, positions].double().numpy(), scores.double().sum().item()


def activations_and_confidence(
    plain: PlainModel, examples: Sequence[Example], prompt: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Examples x layers x positions x neurons, and softmax of the summed log-probabilities at the right choice."""
    activations, confidence = [], []
    for example in examples:
        assert example.choices is not None
        runs = [plain.run(example.text, prompt, choice) for choice in example.choices]
        sums = np.array([score for _, score in runs])
        weights = np.exp(sums - sums.max())
        activations.append(runs[0][0])
        confidence.append(weights[example.answer] / weights.sum())
    return np.stack(activations), np.array(confidence)
