"""Measure the tiny model on held-out pairs and write its card: `python -m skilljobs.lm.tiny.model_card [DIR]`."""

import argparse
import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.lm.tiny.corpus import FORMS, questions_of_split, token_rows
from skilljobs.lm.tiny.evaluate import exact_match, multiple_choice
from skilljobs.lm.tiny.train import LOG, PHASES

QUESTIONS = 1000
CARD, FIGURES = "MODEL_CARD.md", "held_out.json"

TEXT = """# skilljobs tiny

A Llama of {parameters:,} parameters (4 layers of width 160, 448 neurons each; float32) that does arithmetic on numbers
up to 99. It is bundled with skilljobs so that jobs, tests and tutorials have a real language model with a real skill.
It can do nothing else.

- **Input**: BIG-bench's own forms, `Q: What is 23 times 7?\\nA:`, or the same with the choices shown before `A:`. The
  answer is ` 161` and the end token.
- **Tokenizer**: byte-level BPE with {vocabulary} tokens. It can encode any text without loss, and every digit is a
  separate token. The context is {context} tokens.
- **Data**: questions that the training script generates, on operand pairs of the `train` split only (half of all
  pairs; a division counts as its product). The model was never trained on BIG-bench's released examples.
- **Training**: `python -m skilljobs.lm.tiny.train --out DIR`, seed {seed}, loss on answer tokens only, Muon and AdamW.
  The second phase was run separately (`--first-phase 2`), from the weights that the first phase had stored.
  {phases}
- **Log**: `{log}`, one line every 100 steps. The seconds were measured on a machine that also did other work.
- **Licence**: Apache-2.0.

Accuracy on {questions:,} questions of each operation whose operand pair is in the `test` split (`{figures}`): the
fraction answered correctly by greedy decoding (exact match), and by the largest summed log-probability among the
choices (multiple choice).

| operation | form | exact match | multiple choice |
|---|---|---|---|
{table}
"""


def measure(directory: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return the fractions of exact match and of right choices on test pairs, by operation and form."""
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    rng = random.Random(1)
    accuracies: dict[str, dict[str, dict[str, float]]] = {}
    for operation, questions in questions_of_split("test").items():
        asked = rng.sample(questions, QUESTIONS)
        accuracies[operation] = {
            form: {
                "exact_match": exact_match(model, {form: token_rows(asked, form, tokenizer, rng)})[form],
                "multiple_choice": multiple_choice(model, tokenizer, asked, form, rng),
            }
            for form in FORMS
        }
    return accuracies


def write_card(directory: Path) -> None:
    """Measure the model in `directory`, and write its card and accuracies there."""
    figures = measure(directory)
    (directory / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    log: list[dict[str, Any]] = [json.loads(line) for line in (directory / LOG).open(encoding="utf-8")]
    starts = [entry for entry in log if "seed" in entry]
    table = "\n".join(
        f"| {operation} | {form} | {values['exact_match']:.3f} | {values['multiple_choice']:.3f} |"
        for operation, forms in figures.items()
        for form, values in forms.items()
    )
    text = TEXT.format(
        parameters=starts[-1]["parameters"],
        vocabulary=config["vocab_size"],
        context=config["max_position_embeddings"],
        seed=starts[-1]["seed"],
        phases=" ".join(_phase_text(number, log) for number in range(1, len(PHASES) + 1)),
        log=LOG,
        figures=FIGURES,
        questions=QUESTIONS,
        table=table,
    )
    (directory / CARD).write_text(text, encoding="utf-8")
    print(table)


def _phase_text(number: int, log: list[dict[str, Any]]) -> str:
    phase = asdict(PHASES[number - 1])
    seconds = max(entry["seconds"] for entry in log if entry.get("phase") == number and "seconds" in entry)
    wide = "" if phase["wide"] is None else f" (in half of the rows, one up to {phase['wide']})"
    rate = "decaying linearly to 0" if phase["decays"] else "constant"
    return (
        f"Phase {number}: {phase['steps']} steps of {phase['plain_rows']} questions without choices and"
        f" {phase['choices_rows']} with choices, operands up to 99{wide},"
        f" learning rate {phase['learning_rate']} {rate}, {seconds / 60:.0f} minutes on 2 cores."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=TINY_DIRECTORY)
    write_card(parser.parse_args().directory)


if __name__ == "__main__":
    main()
