"""Small tables of examples."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

WORDS = ("one", "plus", "times", "banana", "What is", "choice", "minus", "is", "Q", "divided by")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def random_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of varying length with two to four choices, a group, and a metric that some rows lack."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randint(2, 12))]
        choices: list[str] = []
        for place in range(rng.randint(2, 4)):
            choice = f" {rng.randrange(10 ** rng.randint(1, 4))}"
            choices.append(choice if choice not in choices else f"{choice}/{place}")
        rows.append(
            {
                "example_id": f"row-{number}",
                "text": " ".join(words) + ":",
                "choices": choices,
                "answer": rng.randrange(len(choices)),
                "words": len(words),
                "level": rng.gauss(5, 2) if rng.random() < 0.8 else None,
                "banana": "banana" in words,
                "kind": rng.choice(["a", "b"]),
            }
        )
    return rows


def planted_rows(count: int, word: str, seed: int = 0) -> list[dict[str, Any]]:
    """Texts of which half have `word`, anywhere."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        words = [f" {rng.choice(WORDS)}" for _ in range(rng.randint(4, 14))]
        has_word = number % 2 == 0
        if has_word:
            words.insert(rng.randrange(len(words) + 1), word)
        rows.append(
            {"text": "Q:" + " 7".join(words) + " 7:", "target": f" {rng.randrange(10)}", "word_is_there": has_word}
        )
    return rows


def choice_rows(count: int, word: str, choices: tuple[str, str], seed: int = 0) -> list[dict[str, Any]]:
    """The texts of `planted_rows` with two choices; the right one is drawn."""
    rng = random.Random(seed)
    return [
        {"example_id": f"row-{number}", "text": row["text"], "choices": list(choices), "answer": rng.randrange(2)}
        for number, row in enumerate(planted_rows(count, word, seed))
    ]
