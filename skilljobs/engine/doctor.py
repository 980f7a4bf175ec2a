"""What this machine has, and whether a model and its sums fit on it. Starts nothing."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from skilljobs.engine.checks import sums_bytes
from skilljobs.engine.numerics import available_cpus, resolve_numerics, this_machine, weights_bytes
from skilljobs.engine.plan import JobPlan, plan_job
from skilljobs.errors import InputError
from skilljobs.lm.source import find_model
from skilljobs.spec import JobSpec

PACKAGES = ("skilljobs", "ray", "torch", "transformers", "accelerate", "pyarrow", "polars", "numpy")
HUB_SECONDS = 3.0
LEAST_FREE_GB = 2.0
TASK = "arithmetic"
"""Whose metrics stand for a job's: its sums are of average width."""


@dataclass(frozen=True)
class Finding:
    """`advice` says what to do about it."""

    level: Literal["ok", "warning", "error"]
    about: str
    text: str
    advice: str = ""


def examine(model: str | None) -> Iterator[Finding]:
    """What there is and what is wrong with it, one finding after another."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 1e9
    yield Finding("ok", "python", f"{sys.version.split()[0]} on {sys.platform}")
    for package in PACKAGES:
        try:
            yield Finding("ok", package, version(package))
        except PackageNotFoundError:
            yield Finding("error", package, "not installed", f"pip install -c constraints.txt {package}")
    yield Finding("ok", "cores", str(available_cpus()))
    low = free < LEAST_FREE_GB
    yield Finding("warning" if low else "ok", "memory", f"{memory:.1f} GB, {free:.1f} GB of it unused")
    gpus = _gpus()
    yield Finding("ok", "gpus", ", ".join(gpus) if gpus else "none: models run on CPUs, in float32")
    yield _hub()
    if model is not None:
        yield from _model(model, memory, len(gpus))


def _gpus() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [f"{gpu.name} ({gpu.total_memory / 1e9:.0f} GB)" for gpu in found]


def _hub() -> Finding:
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception as error:  # whatever the client's library raises
        reason = type(error).__name__
        advice = "name models by their directory, or fetch them where there is a network"
        return Finding("warning", "hub", f"not reached ({reason})", advice)
    return Finding("ok", "hub", "reached")


def _model(name: str, memory_gb: float, gpus: int) -> Iterator[Finding]:
    try:
        source = find_model(name)
    except InputError as error:
        yield Finding("error", "model", str(error))
        return
    numerics = resolve_numerics(JobSpec(task=TASK), source, min(1, gpus), this_machine(gpus))
    weights = weights_bytes(source, numerics.dtype) / 1e9
    text = f"{source.name}: {weights:.2f} GB as {numerics.dtype}"
    if gpus == 0 and weights > memory_gb:
        yield Finding("error", "model", f"{text}, more than the memory", "--dtype bfloat16, or a machine with more")
    elif gpus == 0:
        replicas = available_cpus() // numerics.threads
        yield Finding("ok", "model", f"{text}; {replicas} scorers of {numerics.threads} threads")
    else:
        yield Finding("ok", "model", text, "if one GPU does not hold it: --gpus-per-replica N")
    if source.neurons is None:
        yield Finding("warning", "neurons", "the model's configuration does not say how many")
        return
    yield Finding("ok", "neurons", f"{source.neurons:,}")
    try:
        yield _sums(plan_job(JobSpec(task=TASK, model=name, soft_prompt="random")))
    except InputError as error:
        yield Finding("warning", "sums", str(error))


def _sums(plan: JobPlan) -> Finding:
    limit, each_token = plan.spec.max_sums_gb, replace(plan.spec, tokens="each")
    one = plan.sums_bytes / 1e9
    each = sums_bytes(plan.layout, plan.source, each_token, plan.prompt_length) / 1e9
    text = f"a shard of {TASK}: {one:.3g} GB before compression; with --tokens each {each:.3g} GB"
    advice = "for --tokens each choose metrics with --metric" if each > limit else ""
    return Finding("ok", "sums", text, advice)
