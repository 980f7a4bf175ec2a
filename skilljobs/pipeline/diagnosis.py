"""What this machine or those of a cluster have, and whether a model and its sums fit."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from skilljobs.checkpoints.checkpoint import check_weight_files
from skilljobs.checkpoints.neuron_count import neurons_read
from skilljobs.checkpoints.source import find_model
from skilljobs.cluster.authentication import use_token_at_hand
from skilljobs.errors import InputError
from skilljobs.machine import available_cpus, free_memory, total_memory
from skilljobs.plan.capacity import this_machine
from skilljobs.plan.checks import shard_sums_size
from skilljobs.plan.footprint import refuse_too_large, weights_bytes
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.plan.numerics import resolve_numerics
from skilljobs.plan.versions import installed_version
from skilljobs.selection import Selection
from skilljobs.spec import JobSpec
from skilljobs.worker.gpus import visible_gpus
from skilljobs.worker.model_check import check_model

if TYPE_CHECKING:
    from skilljobs.cluster.machines import Answer

PACKAGES = ("skilljobs", "ray", "torch", "transformers", "accelerate", "pyarrow", "polars", "numpy")
HUB_SECONDS = 3.0
LEAST_FREE_GB = 2.0
TASK = "arithmetic"
"""The task whose sums, which are of average width, stand for those of a job."""


@dataclass(frozen=True)
class Finding:
    """One thing about a machine or a model; `advice` says what to do about it."""

    level: Literal["ok", "warning", "error"]
    about: str
    text: str
    advice: str = ""
    host: str = ""
    """The machine of a cluster that it is about; empty if it is about all of them."""


def examine(model: str | None, ffn: str | None = None) -> Iterator[Finding]:
    """What this machine has and what is wrong with it. `ffn` says where the model's neurons are (see `--ffn`)."""
    yield from _installed()
    yield from _hardware()
    if model is not None:
        yield from _model(model, ffn)


def examine_cluster(address: str, model: str | None, ffn: str | None = None) -> Iterator[Finding]:
    """The same for every machine of a cluster, and whether all have the same versions.

    Raises:
        InputError: there is no cluster at `address`.
    """
    use_token_at_hand()  # before Ray is imported
    from skilljobs.cluster.machines import ask_every_machine
    from skilljobs.cluster.session import ray_session

    with ray_session(address) as cluster:
        places = len(cluster.machines)
        text = f"{places} for scorers, {cluster.cpus} CPUs and {cluster.gpus} GPUs"
        advice = "" if places else "start machines, or let the autoscaler: --replicas N --gpus-per-replica M"
        yield Finding("ok" if places else "warning", "machines", text, advice)
        yield _versions(ask_every_machine(_packages))
        yield from _of_machines(ask_every_machine(partial(_listed, _hardware)))
        if model is not None:
            yield from _of_machines(ask_every_machine(partial(_listed, _model, model, ffn), scorers_only=True))


def _of_machines(answers: "list[Answer[list[Finding]]]") -> Iterator[Finding]:
    for answer in answers:
        if answer.value is None:
            yield Finding("error", "machine", answer.error, host=answer.host)
        else:
            yield from (replace(finding, host=answer.host) for finding in answer.value)


def _versions(answers: "list[Answer[dict[str, str | None]]]") -> Finding:
    installed = [(answer.host, answer.value) for answer in answers if answer.value is not None]
    for package in (*PACKAGES, "python"):
        versions = {host: packages[package] for host, packages in installed}
        if len(set(versions.values())) > 1:
            shown = ", ".join(f"{version} on {host}" for host, version in versions.items())
            return Finding("error", "versions", f"{package} is {shown}", "install all from the same constraints.txt")
    shown = ", ".join(f"{package} {version}" for package, version in installed[0][1].items()) if installed else ""
    return Finding("ok", "versions", f"the same on all machines: {shown}")


def _listed(findings: Callable[..., Iterator[Finding]], *about: str | None) -> list[Finding]:
    return list(findings(*about))


def _packages() -> dict[str, str | None]:
    return {name: installed_version(name) for name in PACKAGES} | {"python": sys.version.split()[0]}


def _installed() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{sys.version.split()[0]} on {sys.platform}")
    for package in PACKAGES:
        version = installed_version(package)
        if version is None:
            yield Finding("error", package, "not installed", f"pip install -c constraints.txt {package}")
        else:
            yield Finding("ok", package, version)


def _hardware() -> Iterator[Finding]:
    memory, free = total_memory() / 1e9, free_memory() / 1e9
    yield Finding("ok", "cores", str(available_cpus()))
    low = free < LEAST_FREE_GB
    yield Finding("warning" if low else "ok", "memory", f"{memory:.1f} GB, {free:.1f} GB of it free")
    gpus, unusable = visible_gpus()
    shown = ", ".join(f"{gpu.name} ({gpu.total_memory / 1e9:.0f} GB)" for gpu in gpus)
    if unusable:
        yield Finding("error", "gpus", f"torch cannot use them{unusable}", "install a driver that matches this torch")
    else:
        yield Finding("ok", "gpus", shown or "none: models run on CPUs, in float32")
    yield _hub()


def _hub() -> Finding:
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception as error:  # whatever the client's library raises
        reason = type(error).__name__
        advice = "name models by their directory, or download them on a machine with a network"
        return Finding("warning", "hub", f"not reached ({reason})", advice)
    return Finding("ok", "hub", "reached")


def _model(name: str, ffn: str | None) -> Iterator[Finding]:
    gpus = [gpu.total_memory for gpu in visible_gpus()[0]]
    machine, replica_gpus = this_machine(len(gpus), min(gpus, default=0)), min(1, len(gpus))
    try:
        source = find_model(name)
        check_weight_files(source)
        numerics = resolve_numerics(JobSpec(task=TASK), source, replica_gpus, machine)
        refuse_too_large(source, numerics.dtype, replica_gpus, machine)
    except InputError as error:
        yield Finding("error", "model", str(error))
        return
    text = f"{source.name}: {weights_bytes(source, numerics.dtype) / 1e9:.2f} GB as {numerics.dtype}"
    replicas = len(gpus) or machine.cpus // numerics.threads
    on = "one GPU each" if gpus else f"{numerics.threads} threads each"
    yield Finding("ok", "model", f"{text}; {replicas} scorers, {on}; batches of {numerics.batch_tokens:,} tokens")
    try:
        checked = check_model(source, numerics, Selection(ffn))
    except InputError as error:
        yield Finding("error", "neurons", str(error), "doctor --architectures lists what is supported")
        return
    neurons = sum(layer.count for layer in checked.neurons)
    yield Finding(
        "ok", "neurons",
        f"{neurons:,} in {len(checked.neurons)} layers, read as in a plain forward pass"
        f" (relative error {checked.relative_error:.1g}, {checked.attention} attention)",
    )  # fmt: skip
    if source.is_masked:
        yield Finding("ok", "answers", "read at the mask token: every answer must be one token (a label word)")
        return
    if neurons_read(source, Selection()) is None:
        yield Finding("warning", "sums", "their size is known only when the model is loaded")
        return
    try:
        yield _sums(plan_job(JobSpec(task=TASK, model=name, soft_prompt="random", ffn=ffn)), neurons)
    except InputError as error:
        yield Finding("warning", "sums", str(error))


def _sums(plan: JobPlan, neurons: int) -> Finding:
    limit, each_token = plan.spec.max_sums_gb, replace(plan.spec, tokens="each")
    one = plan.sums_size / 1e9
    each = shard_sums_size(plan.layout, plan.yes_no, neurons, each_token, plan.prompt_length) / 1e9
    text = f"a shard of {TASK}: {one:.3g} GB before compression; with --tokens each {each:.3g} GB"
    advice = "for --tokens each choose metrics with --metric" if each > limit else ""
    return Finding("ok", "sums", text, advice)
