"""Making the soft prompt of one run: where it begins, and what its examples say of one that is being tuned."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet as pq

from skilljobs.hashing import stable_hash
from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.kept_texts import KeptTexts
from skilljobs.lm.masked import tokenize_for
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import SoftPrompt, no_prompt, random_prompt, read_prompt_bytes
from skilljobs.lm.prompt_objective import PromptObjective, TuningExamples, default_learning_rate
from skilljobs.lm.tuning_batches import places_drawn
from skilljobs.lm.tuning_rounds import PartResult, PromptStart, TuneSettings, TuningRound
from skilljobs.plan.work import VALIDATION_EXAMPLES, RunWork, most_tuning_steps
from skilljobs.spec import NO_PROMPT, RANDOM_PROMPT
from skilljobs.store.examples import examples_of
from skilljobs.store.files import Folder
from skilljobs.store.run import TUNING_EXAMPLES_NAME
from skilljobs.tasks.base import Example


def draw_validation(example_ids: Sequence[str]) -> list[str]:
    """`VALIDATION_EXAMPLES` of the validation examples, drawn by a hash of their ids.

    The first rows of a file are no sample: in BIG-bench arithmetic they are all additions.
    """
    return sorted(example_ids, key=lambda example_id: stable_hash("validation", example_id))[:VALIDATION_EXAMPLES]


class PromptTuner:
    """Computes what the tuning of one run's soft prompt asks for. The model runs in `computer`, one thread."""

    def __init__(self, lm: FrozenLM, work: RunWork, computer: Executor, kept: KeptTexts | None = None) -> None:
        """`kept`: what keeps texts (see `PromptObjective`)."""
        self.lm, self.work, self._kept = lm, work, kept
        self._computer = computer

    def start(self, reused: bytes | None) -> PromptStart:
        """The prompt as `reused` (a safetensors file), as a baseline, or as it is before it is tuned."""
        return self._computer.submit(self._start, reused).result()

    def of_parts(self, asked: TuningRound, parts: Sequence[int], reads_ahead: bool) -> list[PartResult]:
        """What some parts of a round say of a soft prompt (see `PromptObjective.of_part`)."""

        def compute() -> list[PartResult]:
            return [self._objective.of_part(asked, part, reads_ahead) for part in parts]

        return self._computer.submit(compute).result()

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
        return PromptObjective(self.lm, examples, settings, self._kept)

    def _read_examples(self) -> TuningExamples:
        folder, spec = Folder(self.work.uri), self.work.spec
        count, to_validate = 0, list[str]()
        for batch in _batches(folder, ["split", "example_id"]):
            count += batch["split"].to_pylist().count("train")
            to_validate += batch.filter(pc.equal(batch["split"], "validation"))["example_id"].to_pylist()
        validated = set(draw_validation(to_validate))
        kept = set(places_drawn(count, spec.initial_prompt_seed, most_tuning_steps(spec, count)))
        train, validation = _Rows(), dict[str, Example]()
        seen = 0
        for batch in _batches(folder):
            splits = batch["split"].to_pylist()
            ids = batch["example_id"].to_pylist()
            chosen = [row for row, name in enumerate(ids) if splits[row] == "validation" and name in validated]
            validation |= {example.example_id: example for example in examples_of(_taken(batch, chosen))}
            of_train = [row for row, split in enumerate(splits) if split == "train"]
            rows = [(seen + number, row) for number, row in enumerate(of_train) if seen + number in kept]
            train.add([place for place, _ in rows], _taken(batch, [row for _, row in rows]))
            seen += len(of_train)
        in_order = [validation[name] for name in draw_validation(list(validation))]
        on_demand = _TokenizedOnDemand(train, self._tokenize)
        return TuningExamples(
            self._tokenize(in_order),
            [example.example_id for example in in_order],
            count,
            on_demand.fetch,
            on_demand.id_of,
        )

    def _tokenize(self, examples: Sequence[Example]) -> list[TokenizedExample]:
        return tokenize_for(self.lm, examples, self.work.answer_end, self.work.spec.chat)


def _batches(folder: Folder, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The examples to tune on, some thousands at a time, in order."""
    with folder.open(TUNING_EXAMPLES_NAME) as file:
        for batch in pq.ParquetFile(file).iter_batches(columns=columns):
            yield pa.Table.from_batches([batch])


def _taken(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    return table.take(pa.array(rows, pa.int64()))


class _Rows:
    """Some rows of a table that is not held."""

    def __init__(self) -> None:
        self._row: dict[int, tuple[pa.Table, int]] = {}

    def add(self, places: Sequence[int], table: pa.Table) -> None:
        """Hold the rows of `table`, whose places in the whole one are `places`."""
        self._row |= {place: (table, row) for row, place in enumerate(places)}

    def table(self, places: Sequence[int]) -> pa.Table:
        """The rows at these places."""
        return pa.concat_tables([table.slice(row, 1) for table, row in map(self._row.__getitem__, places)])


class _TokenizedOnDemand:
    """Examples that are each tokenized when they are first asked for: tuning may see few of them."""

    def __init__(self, rows: _Rows, tokenize: Callable[[Sequence[Example]], list[TokenizedExample]]) -> None:
        self._rows, self._tokenize = rows, tokenize
        self._known: dict[int, TokenizedExample] = {}

    def fetch(self, places: Sequence[int]) -> list[TokenizedExample]:
        missing = [place for place in places if place not in self._known]
        if missing:
            examples = examples_of(self._rows.table(missing))
            self._known.update(zip(missing, self._tokenize(examples), strict=True))
        return [self._known[place] for place in places]

    def id_of(self, place: int) -> str:
        return str(self._rows.table([place])["example_id"][0].as_py())
