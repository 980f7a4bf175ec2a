"""Train the bundled tiny model: `python -m skilljobs.lm.tiny.train --out DIR`.

A Llama of 1.3M parameters learns the four operations on operands 0 to 99, on `train` operand pairs only, with the
loss on answer tokens alone. Hidden matrices are trained with Muon (Jordan et al. 2024), the rest with AdamW.
"""

import argparse
import json
import random
import time
from collections.abc import Mapping
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
class Recipe:
    """Everything that decides the weights, but for the machine's arithmetic."""

    steps: int = 3300
    """Updates in all; behind the warm-up the learning rate falls linearly, to zero at the last."""
    plain_rows: int = 512
    """Rows without choices in a batch."""
    choices_rows: int = 32
    """Rows with the choices shown in a batch."""
    learning_rate: float = 4e-3
    """Of Muon, scaled to match AdamW's update size; AdamW's own is half of it."""
    weight_decay: float = 0.1
    warmup: int = 100
    draws: int = 4
    """How often each question's choices are drawn anew."""
    seed: int = 0


WIDE = 299
"""Half of the rows without choices have one operand above 99, up to this: too many products to learn by heart."""

PLAIN_SHARES = {"addition": 0.10, "subtraction": 0.15, "multiplication": 0.48, "division": 0.27}
"""Share of each operation among the rows without choices: products are the hard part."""


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


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    other = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(
            hidden, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(other, lr=recipe.learning_rate / 2, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def rate(step: int, recipe: Recipe) -> float:
    """The learning rate at `step` as a fraction of the largest."""
    return min((step + 1) / recipe.warmup, 1 - step / recipe.steps)


class Batches:
    """Random batches of one form, with fixed shares of the operations."""

    def __init__(self, rows: Mapping[str, TokenRows], counts: Mapping[str, int], generator: torch.Generator) -> None:
        self.rows = {name: (torch.from_numpy(of.ids).long(), torch.from_numpy(of.answer)) for name, of in rows.items()}
        self.counts = counts
        self.generator = generator
        self.width = max(ids.shape[1] for ids, _ in self.rows.values())

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        ids, marks = [], []
        for name, (all_ids, all_marks) in self.rows.items():
            chosen = torch.randint(len(all_ids), (self.counts[name],), generator=self.generator)
            missing = (0, self.width - all_ids.shape[1])
            ids.append(torch.nn.functional.pad(all_ids[chosen], missing))
            marks.append(torch.nn.functional.pad(all_marks[chosen], missing))
        return torch.cat(ids), torch.cat(marks)


def answer_loss(model: LlamaForCausalLM, ids: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the answer tokens; the LM head runs at their positions only."""
    hidden = model.model(ids[:, :-1], use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[marks[:, 1:]])
    return cross_entropy(logits, ids[:, 1:][marks[:, 1:]])


def training_batches(
    questions: Mapping[str, list[Question]], tokenizer: PreTrainedTokenizerFast, recipe: Recipe, rng: random.Random
) -> list[Batches]:
    """One stream of batches a form, over precomputed token ids."""
    generator = torch.Generator().manual_seed(recipe.seed)
    plain = {name: token_rows(of, "plain", tokenizer, rng) for name, of in questions.items()}
    wide = {
        f"{name}, wide": token_rows(of, "plain", tokenizer, rng)
        for name, of in questions_of_split("train", WIDE).items()
    }
    shares = {name: round(share * recipe.plain_rows / 2) for name, share in PLAIN_SHARES.items()}
    choices = {name: token_rows(of * recipe.draws, "choices", tokenizer, rng) for name, of in questions.items()}
    return [
        Batches(plain | wide, shares | {f"{name}, wide": count for name, count in shares.items()}, generator),
        Batches(choices, dict.fromkeys(OPERATIONS, recipe.choices_rows // len(OPERATIONS)), generator),
    ]


def train(out: Path, recipe: Recipe, threads: int, report_every: int) -> None:
    """Write the model, its tokenizer and its log to `out`; the weights so far are saved at every report."""
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    questions = questions_of_split("train")
    texts = [
        render(question, form, rng)[0] + f" {question.answer}"
        for form in FORMS
        for of in questions.values()
        for question in of
    ]
    tokenizer = train_tokenizer(texts, CONTEXT)
    model = new_model(tokenizer)
    streams = training_batches(questions, tokenizer, recipe, rng)
    held_out = {
        f"{name}/{form}": token_rows(rng.sample(of, 500), form, tokenizer, rng)
        for name, of in questions_of_split("validation").items()
        for form in FORMS
    }
    steppers = optimizers(model, recipe)
    largest = [stepper.param_groups[0]["lr"] for stepper in steppers]
    out.mkdir(parents=True, exist_ok=True)
    log = (out / LOG).open("w", encoding="utf-8")
    print(
        json.dumps({"recipe": asdict(recipe), "parameters": model.num_parameters(), "threads": threads}),
        file=log,
        flush=True,
    )
    begun = time.monotonic()
    running = torch.zeros(len(streams))
    for step in range(recipe.steps):
        for stepper, lr in zip(steppers, largest, strict=True):
            stepper.param_groups[0]["lr"] = lr * rate(step, recipe)
        losses = [answer_loss(model, *stream.draw()) for stream in streams]
        (losses[0] + losses[1] * recipe.choices_rows / recipe.plain_rows).backward()
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        running += torch.stack(losses).detach()
        if (step + 1) % report_every == 0 or step + 1 == recipe.steps:
            model.eval()
            record = {
                "step": step + 1,
                "seconds": round(time.monotonic() - begun),
                "train_loss": dict(zip(FORMS, (running / report_every).tolist(), strict=True)),
                "held_out_exact_match": exact_match(model, held_out),
            }
            model.train()
            running.zero_()
            print(json.dumps(record), file=log, flush=True)
            print(json.dumps(record), flush=True)
            model.save_pretrained(out)
            tokenizer.save_pretrained(out)
    log.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory for weights, tokenizer and log")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--report-every", type=int, default=250, metavar="STEPS")
    options = parser.parse_args()
    train(options.out, Recipe(steps=options.steps, seed=options.seed), options.threads, options.report_every)


if __name__ == "__main__":
    main()
