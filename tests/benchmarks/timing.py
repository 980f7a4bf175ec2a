"""Timing side by side: the candidates take turns, so that a noisy machine is noisy for all of them."""

import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

import torch


def take_turns(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each candidate in each of `rounds`, after one round to warm up; every second round goes backwards."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name in candidates if number % 2 else reversed(list(candidates)):
            begun = time.perf_counter()
            candidates[name]()
            if number:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def product_seconds(rows: int, shape: tuple[int, ...], like: torch.Tensor | None = None) -> float:
    """The fastest of some products of rows x in with the transpose of out x in, of the type and device of `like`."""
    like = torch.empty(0) if like is None else like
    left = torch.randn(rows, shape[1], dtype=like.dtype, device=like.device)
    right = torch.randn(*shape, dtype=like.dtype, device=like.device)
    found = []
    for _ in range(7):
        begun = time.perf_counter()
        torch.nn.functional.linear(left, right)
        wait_for(like.device)
        found.append(time.perf_counter() - begun)
    return min(found)


def wait_for(device: torch.device) -> None:
    """Until it has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine() -> str:
    """What the figures were measured on, in a line."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy"))
    return f"{cpu}, {torch.get_num_threads()} threads, Python {platform.python_version()}, {libraries}"
