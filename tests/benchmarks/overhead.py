"""What reading the neurons and adding up their sums costs beside the forwards themselves."""

from functools import partial

from skilljobs.lm.batch import TokenizedExample
from skilljobs.lm.forward import score_batch
from skilljobs.tasks.base import Example
from tests.benchmarks.subject import Subject, model_spec
from tests.benchmarks.timing import take_turns

BATCH_TOKENS = 1024
"""Short forwards, to have many turns."""


def overhead(model: str, limit: int, rounds: int) -> float:
    """Seconds of collecting over seconds of the same forwards without reading a neuron, less one.

    Each batch runs both ways in turn; of each way its fastest round counts: other work on the machine disturbs it
    least. What a shard costs once, whatever its batches, is counted too.
    """
    subject = Subject.make(model_spec(model, None, limit, BATCH_TOKENS))
    collector = subject.collector
    accumulator = subject.accumulator()
    seconds = {"forward": 0.0, "with statistics": 0.0}

    def forward(tokenized: list[TokenizedExample]) -> None:
        assert score_batch(collector.lm, collector.prompt, tokenized, None).log_probabilities

    def with_statistics(examples: list[Example], tokenized: list[TokenizedExample]) -> None:
        collector.collect(collector.prepare(examples, tokenized), accumulator)

    for batch in collector.prepare(subject.examples, subject.tokenized).batches:
        examples = [subject.examples[place] for place in batch]
        tokenized = [subject.tokenized[place] for place in batch]
        ways = {
            "forward": partial(forward, tokenized),
            "with statistics": partial(with_statistics, examples, tokenized),
        }
        rounds_of_batch = take_turns(ways, rounds)
        for name, values in rounds_of_batch.items():
            seconds[name] += min(values)
    once = take_turns({"once": lambda: subject.accumulator().result()}, rounds)
    return (seconds["with statistics"] + min(once["once"])) / seconds["forward"] - 1
