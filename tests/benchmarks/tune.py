"""Tuning to a given validation loss, beside a plain loop that takes the same steps.

`python -m tests.benchmarks.tune [--model DIR] [--data FILE] [--loss NATS] [--json FILE]`
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from torch import nn

from skilljobs.lm.batch import TokenizedExample, tokenize
from skilljobs.lm.prompt import random_prompt
from skilljobs.lm.tuner import Tuner, default_learning_rate
from skilljobs.lm.tuning_state import TuneSettings, TuningState
from skilljobs.spec import TINY
from skilljobs.worker.prompt_maker import draw_validation
from tests.benchmarks.subject import Subject, model_spec
from tests.benchmarks.timing import machine


class PlainTuner(Tuner):
    """The same batches and the same Adam; text, prompt and answer in one padded forward, and all of its logits."""

    reads_ahead = False

    def loss(self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
        return self._sum(vectors, batch) / sum(len(example.continuations[example.answer]) for example in batch)

    def validation_loss(self) -> float:
        total = tokens = 0.0
        with torch.no_grad():
            for start in range(0, len(self.validation), 16):
                batch = self.validation[start : start + 16]
                total += self._sum(self.state.vectors, batch).item()
                tokens += sum(len(example.continuations[example.answer]) for example in batch)
        return total / tokens

    def _sum(self, vectors: torch.Tensor, batch: Sequence[TokenizedExample]) -> torch.Tensor:
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
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), reduction="sum")


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
    chosen = (plan.train, draw_validation(plan.validation))
    splits = [tokenize(lm.tokenizer, examples, plan.task.answer_end) for examples in chosen]
    settings = TuneSettings(most_steps, default_learning_rate(lm), "target", 0, subject.collector.work.batch_tokens)
    figures: dict[str, dict[str, float]] = {}
    for name, kind in (("skilljobs", Tuner), ("plain loop", PlainTuner)):
        state = TuningState.start(random_prompt(lm.embedding, lm.config.vocab_size, 16, 0).vectors)
        points = kind(lm, state, splits[0], splits[1], settings).run()
        next(points)
        begun = time.perf_counter()
        for point in points:
            if point.split == "validation":
                figures[name] = {"seconds": time.perf_counter() - begun, "steps": point.step, "loss": point.loss}
                click.echo(f"{name}: step {point.step}, validation loss {point.loss:.4f}", err=True)
                if point.loss <= loss:
                    break
    for name, found in figures.items():
        reached = f"loss {found['loss']:.4f} after {found['steps']:.0f} steps"
        each = 1000 * found["seconds"] / found["steps"]
        click.echo(f"  {name:<12} {found['seconds']:8.1f} s   {each:7.0f} ms a step, validations included   {reached}")
    click.echo(f"  ratio {figures['plain loop']['seconds'] / figures['skilljobs']['seconds']:.2f}")
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
