"""Making the soft prompt of one run: where it begins, and what its examples say of one that is being tuned."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet as pq

from skilljobs.hashing import stable_hash
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.masked import tokenize_for
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import SoftPrompt, no_prompt, random_prompt, read_prompt_bytes
from skilljobs.lm.prompt_objective import PromptObjective, TuningExamples, default_learning_rate
from skilljobs.lm.tuning_rounds import PartResult, PromptStart, TuneSettings, TuningRound
from skilljobs.plan.work import VALIDATION_EXAMPLES, RunWork, most_tuning_steps
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT
from skilljobs.store.examples import examples_of
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
        return PromptStart(self._prompt(reused).to_bytes(), rate, examples.train_count, len(examples.validation))

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
            steps=most_tuning_steps(spec, examples.train_count),
            loss=spec.tune_loss,
            seed=spec.initial_prompt_seed,
            batch_tokens=self.work.batch_tokens,
            parts=self.work.tuning_parts,
        )
        return PromptObjective(self.lm, examples, settings)

    def _read_examples(self) -> TuningExamples:
        table = pq.read_table(pa.BufferReader(Folder(self.work.uri).read(TUNING_EXAMPLES_NAME)))
        of_split = {split: table.filter(pc.equal(table["split"], split)) for split in ("train", "validation")}
        validation = draw_validation(examples_of(of_split["validation"]))
        train = _TokenizedOnDemand(of_split["train"], self._tokenize)
        return TuningExamples(
            self._tokenize(validation),
            [example.example_id for example in validation],
            len(of_split["train"]),
            train.fetch,
            train.id_of,
        )

    def _tokenize(self, examples: Sequence[Example]) -> list[TokenizedExample]:
        return tokenize_for(self.lm, examples, self.work.answer_end, self.work.spec.chat)


class _TokenizedOnDemand:
    """Examples of a table, each tokenized when it is first asked for: tuning sees few of what may be millions."""

    def __init__(self, table: pa.Table, tokenize: Callable[[Sequence[Example]], list[TokenizedExample]]) -> None:
        self._table, self._tokenize = table, tokenize
        self._known: dict[int, TokenizedExample] = {}

    def fetch(self, places: Sequence[int]) -> list[TokenizedExample]:
        missing = [place for place in places if place not in self._known]
        if missing:
            examples = examples_of(self._table.take(pa.array(missing)))
            self._known.update(zip(missing, self._tokenize(examples), strict=True))
        return [self._known[place] for place in places]

    def id_of(self, place: int) -> str:
        return str(self._table["example_id"][place].as_py())
