"""Whole jobs with a masked language model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

import skilljobs
from skilljobs.errors import InputError
from skilljobs.lm.prompt import read_prompt_bytes
from tests.masked_models import review_rows, save_masked
from tests.tables import write_jsonl

pytestmark = pytest.mark.ray


def submit(model: Path, out: Path, **options: object) -> skilljobs.Run:
    data = write_jsonl(out / "table.jsonl", review_rows(120))
    common = {"prompt_length": 3, "null": 1, "shard_size": 8, "run_id": "mine", "report": False}
    return skilljobs.submit(data=str(data), model=str(model), out=str(out), **{**common, **options})  # type: ignore[arg-type]


def plain(model: Path, run: skilljobs.Run) -> tuple[np.ndarray, np.ndarray]:
    """Mean activations at the prompt positions (examples x layers x neurons) and confidence, one example at a time."""
    lm, tokenizer = AutoModelForMaskedLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    prompt = read_prompt_bytes(Path(run.uri, "prompt", "soft_prompt.safetensors").read_bytes()).vectors
    words = torch.tensor([tokenizer.convert_tokens_to_ids(word) for word in ("good", "bad")])
    activations, confidence = [], []
    for row in run.examples().collect().iter_rows(named=True):
        ids = tokenizer(row["text"] + "[MASK]").input_ids
        embedded = lm.get_input_embeddings()(torch.tensor(ids))
        kept: list[torch.Tensor] = []

        def keep(_: torch.nn.Module, given: tuple[torch.Tensor, ...], kept: list[torch.Tensor] = kept) -> None:
            kept.append(given[0][0])

        hooks = [layer.output.dense.register_forward_pre_hook(keep) for layer in lm.bert.encoder.layer]
        with torch.no_grad():
            logits = lm(inputs_embeds=torch.cat([embedded[:1], prompt, embedded[1:]])[None]).logits[0]
        for hook in hooks:
            hook.remove()
        scores = logits[ids.index(tokenizer.mask_token_id) + len(prompt)].log_softmax(-1)[words].double()
        confidence.append(scores.softmax(0)[row["answer"]].item())
        activations.append(torch.stack(kept)[:, 1 : 1 + len(prompt)].double().mean(1).numpy())
    return np.stack(activations), np.array(confidence)


def test_correlations_are_those_of_plain_forward_passes(ray_here: Callable[[], None], tmp_path: Path) -> None:
    model = save_masked(tmp_path / "bert")
    run = submit(model, tmp_path, tune_steps=50, report=True)
    activations, confidence = plain(model, run)
    scored = run.examples().join(run.scores(), on="example_id", maintain_order="left").collect()
    assert np.allclose(scored["confidence"], confidence, atol=1e-5)
    for metric, values in (("confidence", confidence), ("words", scored["words"].to_numpy())):
        rows = run.correlations().filter(metric=metric, population="all").sort("layer", "neuron").collect()
        expected = [
            np.corrcoef(activations[:, layer, neuron], values)[0, 1] for layer in range(2) for neuron in range(48)
        ]
        assert np.allclose(rows["r"].to_numpy(), expected, atol=1e-4)
    traced = pl.read_parquet(f"{run.uri}/activations.parquet")
    place = {example_id: number for number, example_id in enumerate(scored["example_id"])}
    first = traced.row(0, named=True)
    expected = activations[place[first["example_id"]], first["layer"], first["neuron"]]
    assert first["activation"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"soft_prompt": "none"}, "--soft-prompt none: the model .* its neurons are read at a soft prompt"),
        ({"answer_end": "."}, "--answer-end: the model .* its answer is one token at the mask token"),
        ({"chat": True}, "--chat: the model .* no turns of a chat"),
        ({"metric": ("exact",)}, "--metric exact: the model .* does not decode"),
    ],
)
def test_what_a_masked_language_model_cannot_do_is_refused(
    tmp_path: Path, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        submit(save_masked(tmp_path / "bert"), tmp_path, **options)


def test_answers_that_are_no_label_words_are_bad_rows(tmp_path: Path) -> None:
    rows = [{**row, "choices": [" very good", " bad"]} for row in review_rows(20)]
    with pytest.raises(InputError, match="the answer ' very good' is 2 tokens, and a label word must be one"):
        skilljobs.submit(
            data=str(write_jsonl(tmp_path / "table.jsonl", rows)),
            model=str(save_masked(tmp_path / "bert")),
            out=str(tmp_path),
        )
