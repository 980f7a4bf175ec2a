"""Reading the shards of a finished run again: examples, soft prompt, and the means of half 0."""

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cached_property

import torch

from skilljobs.errors import JobFailed
from skilljobs.lm.batch import TokenizedExample, tokenize
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import read_prompt_bytes
from skilljobs.plan.ablation_work import AblationWork
from skilljobs.store.examples import examples_from
from skilljobs.store.files import Folder
from skilljobs.store.position_means import read_sums
from skilljobs.store.run import PROMPT_NAME
from skilljobs.store.shards import examples_name
from skilljobs.tasks.base import Example


class FinishedShards:
    """What works for one job on a finished run. The model runs in `computer`, which has one thread."""

    def __init__(self, lm: FrozenLM, work: AblationWork, computer: Executor) -> None:
        self.lm, self.work = lm, work
        self.folder = Folder(work.uri)
        self._computer = computer

    @cached_property
    def _prompt(self) -> torch.Tensor:
        vectors = read_prompt_bytes(self.folder.read(PROMPT_NAME)).vectors
        return vectors.to(self.lm.device, self.lm.dtype)

    @cached_property
    def _means(self) -> list[torch.Tensor]:
        """The mean of every neuron at each kind of position: kinds x neurons, a tensor for each layer."""
        sums = read_sums(self.folder, self.work.means, self.work.run_fingerprint, "")
        if sums is None:
            raise JobFailed(f"{self.work.means} is damaged or of another run")
        return [torch.from_numpy(layer).to(self.lm.device) for layer in sums.means]

    def _read(self, shard: int) -> tuple[list[Example], bytes]:
        """The examples of a shard that the run did not set aside, and the file that they are in."""
        part = self.folder.read(examples_name(shard))
        examples = [example for example in examples_from(part) if example.example_id not in self.work.left_out]
        return examples, part

    def _tokenize(self, examples: Sequence[Example]) -> list[TokenizedExample]:
        return tokenize(self.lm.tokenizer, examples, self.work.answer_end, self.work.texts_are_complete)
