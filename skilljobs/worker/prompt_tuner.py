"""Making the soft prompt of one run: where it begins, and what its examples say of one that is being tuned."""

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cached_property

from skilljobs.hashing import stable_hash
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.masked import tokenize_for
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import SoftPrompt, no_prompt, random_prompt, read_prompt_bytes
from skilljobs.lm.prompt_objective import PromptObjective, TuningExamples, default_learning_rate
from skilljobs.lm.tuning_rounds import PartResult, PromptStart, TuneSettings, TuningRound
from skilljobs.plan.work import VALIDATION_EXAMPLES, RunWork, most_tuning_steps
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT
from skilljobs.store.examples import examples_from
from skilljobs.store.files import Folder
from skilljobs.store.run import TUNING_EXAMPLES_NAME
from skilljobs.tasks.base import Example


def draw_validation(examples: Sequence[Example]) -> list[Example]:
    """`VALIDATION_EXAMPLES` of the validation examples, drawn by a hash of their ids.

    The first rows of a file are no sample: in BIG-bench arithmetic they are all additions.
    """
    drawn = sorted(examples, key=lambda example: stable_hash("validation", example.example_id))
    return drawn[:VALIDATION_EXAMPLES]


class PromptTuner:
    """Computes what the tuning of one run's soft prompt asks for. The model runs in `computer`, one thread."""

    def __init__(self, lm: FrozenLM, work: RunWork, computer: Executor) -> None:
        self.lm, self.work = lm, work
        self._computer = computer

    def start(self, reused: bytes | None) -> PromptStart:
        """The prompt as `reused` (a safetensors file), as a baseline, or as it is before it is tuned."""
        return self._computer.submit(self._start, reused).result()

    def of_part(self, asked: TuningRound, part: int, reads_ahead: bool) -> PartResult:
        """What one part of a round says of a soft prompt (see `PromptObjective.of_part`)."""
        return self._computer.submit(lambda: self._objective.of_part(asked, part, reads_ahead)).result()

    def _start(self, reused: bytes | None) -> PromptStart:
        examples = self._objective.examples
        rate = self.work.spec.learning_rate or default_learning_rate(self.lm)
        return PromptStart(self._prompt(reused).to_bytes(), rate, len(examples.train), len(examples.validation))

    def _prompt(self, reused: bytes | None) -> SoftPrompt:
        spec = self.work.spec
        if reused is not None:
            return read_prompt_bytes(reused)
        if spec.soft_prompt == NO_PROMPT:
            return no_prompt(self.lm.width)
        assert spec.soft_prompt in (None, RANDOM_PROMPT)
        vocabulary = min(self.lm.config.vocab_size, len(self.lm.tokenizer))
        return random_prompt(self.lm.embedding, vocabulary, spec.prompt_length, spec.initial_prompt_seed)

    @cached_property
    def _objective(self) -> PromptObjective:
        spec, examples = self.work.spec, self._read_examples()
        settings = TuneSettings(
            steps=most_tuning_steps(spec, len(examples.train)),
            loss=spec.tune_loss,
            seed=spec.initial_prompt_seed,
            batch_tokens=self.work.batch_tokens,
            parts=self.work.tuning_parts,
        )
        return PromptObjective(self.lm, examples, settings)

    def _read_examples(self) -> TuningExamples:
        examples = examples_from(Folder(self.work.uri).read(TUNING_EXAMPLES_NAME))
        train = [example for example in examples if example.split == "train"]
        validation = draw_validation([example for example in examples if example.split == "validation"])

        def tokenized(chosen: Sequence[Example]) -> list[TokenizedExample]:
            return tokenize_for(self.lm, chosen, self.work.answer_end, self.work.spec.chat)

        def ids(chosen: Sequence[Example]) -> list[str]:
            return [example.example_id for example in chosen]

        return TuningExamples(tokenized(train), tokenized(validation), ids(train), ids(validation))
