"""That a GPU is not waited for between batches. There is none here: the model has no data, so nothing can be read back,
and copies that would wait are caught."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoTokenizer

from skilljobs.checkpoints.source import TINY_DIRECTORY
from skilljobs.lm.forward import score_batch
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.transfer import HostCopy, LaterCopy, to_device
from skilljobs.stats.layout import ALL, Layout, Metric
from skilljobs.worker.accumulator import SumsAccumulator
from tests.lm.test_forward import build, random_batch

DEVICE = torch.device("meta")
COPIES = (torch.ops.aten.to, torch.ops.aten._to_copy, torch.ops.aten.copy_)
INDEXED = (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_)


class Copies(TorchDispatchMode):
    """Notes the copies between host and device that wait."""

    def __init__(self, waiting: list[str]) -> None:
        super().__init__()
        self.waiting = waiting

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket in COPIES:
            given = dict(zip([argument.name for argument in function._schema.arguments], args, strict=False))
            given |= kwargs or {}
            devices = {value.device for value in (*given.values(), result) if isinstance(value, torch.Tensor)}
            if len(devices) > 1 and not given.get("non_blocking"):
                self.waiting.append(f"{function} to {tuple(result.shape)}")
        if function.overloadpacket in INDEXED:
            places = [place.device for place in args[1] if place is not None]
            if set(places) - {args[0].device}:
                self.waiting.append(f"{function} to {tuple(result.shape)}")
        return result


class TensorsOfValues(TorchFunctionMode):
    """Notes those that are made on the device, which is a copy that waits."""

    def __init__(self, waiting: list[str]) -> None:
        super().__init__()
        self.waiting = waiting

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.tensor and result.device == DEVICE:
            self.waiting.append(f"tensor to {tuple(result.shape)}")
        return result


@contextmanager
def waiting_copies() -> Iterator[list[str]]:
    waiting: list[str] = []
    with Copies(waiting), TensorsOfValues(waiting):
        yield waiting


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "gpt-neox"])
def test_nothing_that_a_batch_gives_to_the_device_waits_for_it(name: str) -> None:
    lm = FrozenLM(build(name, window=64), AutoTokenizer.from_pretrained(TINY_DIRECTORY))
    lm.model.to(DEVICE)
    lm.head = replace(lm.head, weight=lm.model.get_output_embeddings().weight)
    batch = random_batch(6)
    layout = Layout((Metric("a", "external", True), Metric("b", "external", False)), (ALL,), {})
    references = [
        torch.zeros(1, count, dtype=torch.float64, device=DEVICE) for count in (layer.count for layer in lm.neurons)
    ]
    prompt = torch.zeros(4, lm.width, device=DEVICE)
    with waiting_copies() as waiting:
        accumulator = SumsAccumulator(layout, references, torch.zeros(2))
        for _ in range(2):
            scored = score_batch(lm, prompt, batch, "mean")
            accumulator.add(scored.activations, torch.zeros(6, 2), torch.ones(6, 1, dtype=torch.bool))
        accumulator.fetch()
    assert waiting == []


def test_a_copy_that_waits_is_noticed() -> None:
    with waiting_copies() as waiting:
        to_device(torch.zeros(3), DEVICE)
        assert waiting == []
        torch.zeros(4).to(DEVICE)
        torch.zeros(5, device=DEVICE).copy_(torch.zeros(5))
        torch.tensor([1.0] * 6, device=DEVICE)
        with torch.inference_mode():
            torch.zeros(7).to(DEVICE)
        torch.zeros(9, device=DEVICE)[torch.arange(8)]
    assert [found.rpartition(" to ")[2] for found in waiting] == ["(4,)", "(5,)", "(6,)", "(7,)", "(8,)"]


def test_copies_come_as_they_were() -> None:
    tensors = [torch.arange(3.0), torch.tensor([1, 2])]
    for copy, tensor in zip(LaterCopy(tensors).wait(), tensors, strict=True):
        assert torch.equal(copy, tensor)
    assert torch.equal(HostCopy(tensors[0]).wait(), tensors[0])
