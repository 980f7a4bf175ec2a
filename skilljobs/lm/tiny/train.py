"""Train the bundled tiny model: `python -m skilljobs.lm.tiny.train --out DIR`.

A Llama of 1.3M parameters learns the four operations on operands from 0 to 99, on `train` operand pairs only, with the
loss on answer tokens only. Hidden matrices are trained with Muon (Jordan et al. 2024), the rest with AdamW.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from skilljobs.lm.tiny.corpus import FORMS, TokenRows, questions_of_split, render, token_rows
from skilljobs.lm.tiny.evaluate import exact_match
from skilljobs.lm.tiny.tokenizer import train_tokenizer
from skilljobs.tasks.questions import OPERATIONS, Question

CONTEXT = 1024
LOG = "training.jsonl"


@dataclass(frozen=True)
class Phase:
    """A phase of training, which has its own optimizers."""

    steps: int
    learning_rate: float
    """The learning rate of Muon, scaled to match AdamW's update size. The learning rate of AdamW is half of it."""
    decays: bool
    """Whether the learning rate decays linearly to zero at the last step."""
    weight_decay: float
    wide: int | None
    """If given, half of the rows without choices have one operand from 100 to this: too many pairs to memorize."""
    shares: Mapping[str, float]
    """Share of each operation among the rows without choices. Multiplication is the hardest."""
    plain_rows: int = 512
    choices_rows: int = 32
    """`plain_rows` and `choices_rows` are the numbers of rows in a batch without choices and with the choices shown."""
    warmup: int = 100


PHASES = (
    Phase(
        steps=1800,
        learning_rate=4e-3,
        decays=False,
        weight_decay=0.2,
        wide=None,
        shares={"addition": 0.15, "subtraction": 0.15, "multiplication": 0.5, "division": 0.2},
    ),
    Phase(
        steps=2200,
        learning_rate=4e-3,
        decays=True,
        weight_decay=0.1,
        wide=299,
        shares={"addition": 0.06, "subtraction": 0.10, "multiplication": 0.54, "division": 0.30},
        choices_rows=16,
    ),
)
DRAWS = 4
"""How many times the choices of each question are drawn."""


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=160,
            intermediate_size=448,
            num_hidden_layers=4,
            num_attention_heads=5,
            num_key_value_heads=5,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def optimizers(model: LlamaForCausalLM, phase: Phase) -> list[torch.optim.Optimizer]:
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    other = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(
            hidden, lr=phase.learning_rate, weight_decay=phase.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(other, lr=phase.learning_rate / 2, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def rate(step: int, phase: Phase) -> float:
    """Return the learning rate at `step` as a fraction of its maximum."""
    return min((step + 1) / phase.warmup, 1 - step / phase.steps if phase.decays else 1.0)


class Batches:
    """Random batches of one form, with fixed shares of the operations."""

    def __init__(self, rows: Mapping[str, TokenRows], counts: Mapping[str, int], generator: torch.Generator) -> None:
        self.rows = {
            name: (torch.from_numpy(part.ids).long(), torch.from_numpy(part.answer)) for name, part in rows.items()
        }
        self.counts = counts
        self.generator = generator
        self.width = max(ids.shape[1] for ids, _ in self.rows.values())

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the token ids of a random batch, rows x width, and a mask of the answer and end tokens."""
        ids, marks = [], []
        for name, (all_ids, all_marks) in self.rows.items():
            chosen = torch.randint(len(all_ids), (self.counts[name],), generator=self.generator)
            padding = (0, self.width - all_ids.shape[1])
            ids.append(torch.nn.functional.pad(all_ids[chosen], padding))
            marks.append(torch.nn.functional.pad(all_marks[chosen], padding))
        return torch.cat(ids), torch.cat(marks)


def answer_loss(model: LlamaForCausalLM, ids: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the answer tokens. The LM head is applied at their positions only."""
    hidden = model.model(ids[:, :-1], use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[marks[:, 1:]])
    return cross_entropy(logits, ids[:, 1:][marks[:, 1:]])


class Corpus:
    """The training data as token ids, with its tokenizer."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        questions = questions_of_split("train")
        flat = [question for group in questions.values() for question in group]
        texts = [render(question, form, rng)[0] + f" {question.answer}" for form in FORMS for question in flat]
        self.rng = rng
        self.tokenizer = train_tokenizer(texts, CONTEXT)
        self.plain = self._rows(questions, "plain")
        self.choices = self._rows({name: group * DRAWS for name, group in questions.items()}, "choices")
        self.generator = torch.Generator().manual_seed(seed)

    def batches(self, phase: Phase) -> list[Batches]:
        """Return a stream of batches without choices and one with choices."""
        rows = dict(self.plain)
        counts = {name: round(share * phase.plain_rows) for name, share in phase.shares.items()}
        if phase.wide is not None:
            counts = {name: count // 2 for name, count in counts.items()}
            counts |= {f"{name}, wide": count for name, count in counts.items()}
            wide = self._rows(questions_of_split("train", phase.wide), "plain")
            rows |= {f"{name}, wide": part for name, part in wide.items()}
        choices_counts = dict.fromkeys(OPERATIONS, phase.choices_rows // len(OPERATIONS))
        return [Batches(rows, counts, self.generator), Batches(self.choices, choices_counts, self.generator)]

    def held_out(self) -> dict[str, TokenRows]:
        """Return 500 validation questions of each operation and form."""
        return {
            f"{name}/{form}": token_rows(self.rng.sample(group, 500), form, self.tokenizer, self.rng)
            for name, group in questions_of_split("validation").items()
            for form in FORMS
        }

    def _rows(self, questions: Mapping[str, list[Question]], form: str) -> dict[str, TokenRows]:
        return {name: token_rows(group, form, self.tokenizer, self.rng) for name, group in questions.items()}


def train_phase(
    model: LlamaForCausalLM, streams: list[Batches], phase: Phase, report_every: int
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train `model` in place. Yields the step and the mean training losses at every report."""
    steppers = optimizers(model, phase)
    largest = [stepper.param_groups[0]["lr"] for stepper in steppers]
    running = torch.zeros(len(streams))
    since = 0
    for step in range(phase.steps):
        for stepper, lr in zip(steppers, largest, strict=True):
            stepper.param_groups[0]["lr"] = lr * rate(step, phase)
        losses = [answer_loss(model, *stream.draw()) for stream in streams]
        (losses[0] + losses[1] * phase.choices_rows / phase.plain_rows).backward()
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        running += torch.stack(losses).detach()
        since += 1
        if since == report_every or step + 1 == phase.steps:
            yield step + 1, dict(zip(FORMS, (running / since).tolist(), strict=True))
            running.zero_()
            since = 0


def train(out: Path, seed: int, threads: int, report_every: int, first_phase: int) -> None:
    """Train the model and write it, its tokenizer and its log to `out`. The weights are saved at every report.

    If `first_phase` is above 1, training starts from the weights in `out`, taken as the result of the earlier phases.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    corpus = Corpus(seed)
    model = new_model(corpus.tokenizer) if first_phase == 1 else LlamaForCausalLM.from_pretrained(out)
    held_out = corpus.held_out()
    out.mkdir(parents=True, exist_ok=True)
    corpus.tokenizer.save_pretrained(out)
    started = time.monotonic()
    with (out / LOG).open("w" if first_phase == 1 else "a", encoding="utf-8") as log:
        for number, phase in enumerate(PHASES[first_phase - 1 :], start=first_phase):
            header = {"phase": number, "seed": seed, "threads": threads, "parameters": model.num_parameters()}
            print(json.dumps(header | asdict(phase)), file=log, flush=True)
            for step, losses in train_phase(model, corpus.batches(phase), phase, report_every):
                model.eval()
                record = {
                    "phase": number,
                    "step": step,
                    "seconds": round(time.monotonic() - started),
                    "train_loss": losses,
                    "held_out_exact_match": exact_match(model, held_out),
                }
                model.train()
                print(json.dumps(record), file=log, flush=True)
                print(json.dumps(record), flush=True)
                model.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory for weights, tokenizer and log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--report-every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--first-phase", type=int, default=1, help="continue from the weights in --out")
    options = parser.parse_args()
    train(options.out, options.seed, options.threads, options.report_every, options.first_phase)


if __name__ == "__main__":
    main()
