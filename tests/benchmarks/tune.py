"""Tuning to a given validation loss, beside a plain loop that takes the same steps.

`python -m tests.benchmarks.tune [--model DIR] [--data FILE] [--loss NATS] [--json FILE]`
"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
import torch
from torch import nn

from skilljobs.lm.batch import TokenizedExample, tokenize
from skilljobs.lm.losses import loss_terms
from skilljobs.lm.prompt_objective import PromptObjective, default_learning_rate
from skilljobs.lm.results import TuningPoint
from skilljobs.lm.tuning_rounds import TuneSettings
from skilljobs.pipeline.prompt_tuning import TuningNews
from skilljobs.plan.numerics import TUNING_PARTS
from skilljobs.spec import TINY
from skilljobs.worker.prompt_tuner import draw_validation
from tests.benchmarks.subject import Subject, model_spec
from tests.benchmarks.timing import machine
from tests.tuning import first_state, objective, tune


class PlainObjective(PromptObjective):
    """The same batches and the same Adam; text, prompt and answer in one padded forward, and all of its logits."""

    def loss(self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
        return self._sums(vectors, batch).sum() / loss_terms(batch, "target")

    def _validation_losses(self, vectors: torch.Tensor, examples: Sequence[TokenizedExample], part: int) -> list[float]:
        with torch.no_grad():
            starts = range(0, len(examples), 16)
            return [loss for start in starts for loss in self._sums(vectors, examples[start : start + 16]).tolist()]

    def _sums(self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
        pieces, labels = [], []
        for example in batch:
            answer = torch.tensor(example.continuations[example.answer])
            text = torch.tensor(example.text)
            pieces.append(torch.cat([self.lm.embed(text), vectors, self.lm.embed(answer)]))
            labels.append(torch.cat([torch.full((len(text) + len(vectors),), -100), answer]))
        embeddings = nn.utils.rnn.pad_sequence(pieces, batch_first=True)
        mask = nn.utils.rnn.pad_sequence([torch.ones(len(piece)) for piece in pieces], batch_first=True)
        targets = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        logits = self.lm.model(inputs_embeds=embeddings, attention_mask=mask.long(), use_cache=False).logits
        losses = nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), targets[:, 1:], reduction="none")
        return losses.sum(1)


class ReachedError(Exception):
    """The validation loss was reached."""


@click.command()
@click.option("--model", default=TINY, show_default=True, metavar="DIR")
@click.option("--data", metavar="FILE", help="Real BIG-bench arithmetic; without it the task makes its own.")
@click.option("--loss", default=0.25, show_default=True, metavar="NATS", help="The validation loss to reach.")
@click.option("--most-steps", default=300, show_default=True, metavar="N")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(model: str, data: str | None, loss: float, most_steps: int, json_file: str | None) -> None:
    """Measure the seconds until the validation loss is reached, by skilljobs and by a plain loop."""
    click.echo(machine())
    subject = Subject.make(model_spec(model, data, 8))
    lm, plan = subject.collector.lm, subject.plan
    drawn = set(draw_validation([example.example_id for example in plan.validation]))
    chosen = (plan.train, [example for example in plan.validation if example.example_id in drawn])
    splits = [tokenize(lm.tokenizer, examples, plan.task.answer_end) for examples in chosen]
    rate, batch_tokens = default_learning_rate(lm), subject.collector.work.batch_tokens
    figures: dict[str, dict[str, float]] = {}
    for name, kind, parts in (("skilljobs", PromptObjective, TUNING_PARTS), ("plain loop", PlainObjective, 1)):
        begun: list[float] = []

        def take(news: TuningNews) -> None:
            if not isinstance(news, TuningPoint) or news.split != "validation":
                return
            if not begun:  # noqa: B023
                begun.append(time.perf_counter())  # noqa: B023
                return
            seconds = time.perf_counter() - begun[0]  # noqa: B023
            figures[name] = {"seconds": seconds, "steps": news.step, "loss": news.loss}  # noqa: B023
            click.echo(f"{name}: step {news.step}, validation loss {news.loss:.4f}", err=True)  # noqa: B023
            if news.loss <= loss:
                raise ReachedError

        of = objective(lm, splits[0], splits[1], TuneSettings(most_steps, "target", 0, batch_tokens, parts), kind)
        with suppress(ReachedError):
            tune(of, first_state(lm, 16), rate, take, reads_ahead=kind is PromptObjective)
    for name, found in figures.items():
        reached = f"loss {found['loss']:.4f} after {found['steps']:.0f} steps"
        each = 1000 * found["seconds"] / found["steps"]
        click.echo(f"  {name:<12} {found['seconds']:8.1f} s   {each:7.0f} ms a step, validations included   {reached}")
    click.echo(f"  ratio {figures['plain loop']['seconds'] / figures['skilljobs']['seconds']:.2f}")
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
