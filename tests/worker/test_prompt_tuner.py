"""What decides when tuning stops is a sample of the validation examples."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq
from transformers import AutoTokenizer

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.lm.batch import tokenize
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.tuning_batches import draw_batch, places_drawn
from skilljobs.plan.job_plan import plan_job
from skilljobs.plan.work import VALIDATION_EXAMPLES, RunWork
from skilljobs.spec import JobSpec
from skilljobs.store.examples import example_bytes, example_schema
from skilljobs.store.run import TUNING_EXAMPLES_NAME
from skilljobs.tasks.base import Example
from skilljobs.worker.prompt_tuner import PromptTuner, draw_validation
from tests.lm.test_forward import build
from tests.tables import random_rows, write_jsonl

SPLITS = ("train", "validation", "test")


def test_validation_is_a_sample_and_not_the_first_rows() -> None:
    """The file begins with additions."""
    validation = plan_job(JobSpec(task="arithmetic")).validation
    first = Counter(str(example.metrics["operation"]) for example in validation[:VALIDATION_EXAMPLES])
    by_id = {example.example_id: example for example in validation}
    drawn = [by_id[example_id] for example_id in draw_validation(list(by_id))]
    shares = Counter(str(example.metrics["operation"]) for example in drawn)
    assert set(first) == {"addition"}, "otherwise this test shows nothing"
    assert len(drawn) == VALIDATION_EXAMPLES
    whole = Counter(str(example.metrics["operation"]) for example in validation)
    for operation, count in whole.items():
        expected = VALIDATION_EXAMPLES * count / len(validation)
        assert abs(shares[operation] - expected) < 4 * expected**0.5, shares


def test_the_sample_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    ids = [example.example_id for example in plan_job(JobSpec(task="arithmetic")).validation]
    assert draw_validation(ids[::-1]) == draw_validation(ids)


def tuner_of(folder: Path, rows: int, steps: int) -> tuple[PromptTuner, list[Example]]:
    """What tunes on so many rows, written in three row groups, and those rows."""
    lm = FrozenLM(build("llama"), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    data = write_jsonl(folder / "t.jsonl", ({**row, "split": SPLITS[n % 3]} for n, row in enumerate(random_rows(rows))))
    plan = plan_job(JobSpec(data=str(data), model="tiny", tune_steps=steps))
    tuning = [*plan.train, *plan.validation]
    table = pq.read_table(pa.BufferReader(example_bytes(tuning, example_schema(tuning))))
    (folder / "prompt").mkdir()
    pq.write_table(table, folder / TUNING_EXAMPLES_NAME, row_group_size=len(tuning) // 3 + 1)
    work = RunWork("", str(folder), "", plan.spec, "", plan.reading, None, 2048)
    return PromptTuner(lm, work, ThreadPoolExecutor(1)), list(plan.train)


@pytest.mark.parametrize("steps", [3, 40])
def test_only_the_examples_that_are_drawn_are_held(tmp_path: Path, steps: int) -> None:
    tuner, train = tuner_of(tmp_path, 900, steps)
    start = tuner.start(None)
    assert (start.train, start.validation) == (len(train), VALIDATION_EXAMPLES)
    examples = tuner._objective.examples
    held = examples.fetch_train.__self__._rows._row  # type: ignore[attr-defined]
    assert len(held) == (len(places_drawn(len(train), tuner.work.spec.initial_prompt_seed, steps)))
    assert len(held) < 140 if steps == 3 else len(held) == len(train)
    for step in range(steps):
        for place in draw_batch(examples.train_count, examples.fetch_train, tuner.work.spec.initial_prompt_seed, step):
            assert examples.train_id(place) == train[place].example_id
            (tokens,) = examples.fetch_train([place])
            assert tokens == tokenize(tuner.lm.tokenizer, [train[place]], None)[0]
