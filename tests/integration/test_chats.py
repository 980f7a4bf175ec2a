"""A job with a chat template and worked examples, through Ray."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from transformers import AutoTokenizer

import skilljobs
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.examples import examples_of
from tests.chats import OPENING, save_chat_llama
from tests.integration.oracle import PlainModel, activations_and_confidence
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def test_a_chat_with_worked_examples_equals_plain_forwards_over_conversations(tmp_path: Path) -> None:
    model, rows = save_chat_llama(tmp_path / "model", OPENING), random_rows(100)
    options = {
        "data": str(write_jsonl(tmp_path / "table.jsonl", rows)), "model": str(model), "soft_prompt": "random",
        "prompt_length": 3, "chat": True, "few_shot": 2, "null": 2, "out": str(tmp_path), "run_id": "chat",
        "reporter": SilentReporter(), "report": False,
    }  # fmt: skip
    run = skilljobs.submit(**options)  # type: ignore[arg-type]
    examples = examples_of(run.examples().collect().to_arrow())
    tokenizer, by_id = AutoTokenizer.from_pretrained(model), {row["example_id"]: row for row in rows}
    for example in examples:  # the conversation that transformers makes of the row
        row = by_id[example.example_id]
        turns = [turn.split("\n", 1) for turn in example.text.split("<|im_start|>")[1:]]
        messages = [
            {"role": "user" if role == "user" else "assistant", "content": said.removesuffix("<|im_end|>\n")}
            for role, said in turns[:-1]
        ]
        assert messages[-1]["content"] == row["text"].strip()
        whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert example.text == whole
        assert example.choices == tuple(choice.strip() for choice in row["choices"])
    plain = PlainModel(model, chat_end="<|im_end|>")
    activations, confidence = activations_and_confidence(plain, examples, run.soft_prompt())
    scores = run.scores().collect()
    assert scores["example_id"].to_list() == [example.example_id for example in examples]
    np.testing.assert_allclose(scores["confidence"], confidence, atol=1e-5)
    found = run.correlations().filter(pl.col("metric") == "confidence", pl.col("population") == "all").collect()
    expected = [
        np.corrcoef(layer[:, neuron], confidence)[0, 1]
        for layer in np.moveaxis(activations.mean(2), 1, 0)
        for neuron in range(layer.shape[1])
    ]
    np.testing.assert_allclose(found.sort("layer", "neuron")["r"], expected, atol=1e-5)
    with pytest.raises(InputError, match="few_shot = 2, now it is 1"):
        skilljobs.submit(**options | {"few_shot": 1})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="chat = True, now it is False"):
        skilljobs.submit(**options | {"chat": False})  # type: ignore[arg-type]
