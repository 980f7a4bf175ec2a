"""How much of a device's arithmetic a scorer uses: shards are read, computed and written as an actor does it.

`python -m tests.benchmarks.utilisation [--shape 8b] [--device cuda] [--json FILE]`, on a Llama of random weights.
"""

import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from skilljobs.checkpoints.neuron_count import neurons_read
from skilljobs.checkpoints.source import ModelSource
from skilljobs.cluster.machines import smallest_gpu_memory
from skilljobs.cluster.pool import QUEUE_DEPTH
from skilljobs.lm.batch import tokenize
from skilljobs.lm.load import load_tokenizer
from skilljobs.lm.model import FrozenLM
from skilljobs.lm.prompt import random_prompt
from skilljobs.machine import available_cpus
from skilljobs.plan.capacity import this_machine
from skilljobs.plan.checks import shard_sums_size
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.plan.numerics import resolve_numerics
from skilljobs.plan.work import ModelSetup, RunWork
from skilljobs.selection import Selection
from skilljobs.spec import TINY, JobSpec
from skilljobs.store.examples import example_bytes, example_schema
from skilljobs.store.files import Folder
from skilljobs.store.record import Numerics
from skilljobs.store.run import PROMPT_NAME
from skilljobs.store.shards import Receipt, examples_name
from skilljobs.worker.scorer import Scorer
from skilljobs.worker.shard_scorer import ShardScorer
from tests.benchmarks.timing import machine, product_seconds

SHAPES: dict[str, dict[str, int]] = {
    "small": {"num_hidden_layers": 4, "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 4},
    "wide": {"num_hidden_layers": 8, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 8},
    "1b": {"num_hidden_layers": 16, "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32},
    "8b": {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32},
}
"""As in Llama 3 but `small` and `wide`."""


def make_scorer(shape: str, device: str, folder: Path, plan: JobPlan) -> tuple[ShardScorer, Numerics]:
    """A scorer as an actor has it, with a model that was never on a disk; its run's directory is `folder`."""
    heads = SHAPES[shape]["num_attention_heads"]
    config = LlamaConfig(**SHAPES[shape], num_key_value_heads=min(8, heads), vocab_size=128_256)
    on_gpu = device == "cuda"
    config.dtype = torch.bfloat16 if on_gpu else torch.float32
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=config.dtype, attn_implementation="sdpa")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(model.num_parameters() * config.dtype.itemsize)  # what batches are planned with
    source = ModelSource(shape, folder, {**SHAPES[shape], "dtype": str(config.dtype).removeprefix("torch.")})
    machine_here = this_machine(int(on_gpu), smallest_gpu_memory(1) if on_gpu else 0)
    size = shard_sums_size(plan.layout, plan.yes_no, neurons_read(source, Selection()), plan.spec, plan.prompt_length)
    planned = resolve_numerics(plan.spec, source, int(on_gpu), machine_here, size)
    numerics = planned.model_copy(update={"threads": available_cpus()})
    scorer = Scorer(ModelSetup.of(source, numerics, Selection()))
    scorer.lm = FrozenLM(model.eval().requires_grad_(False), load_tokenizer(plan.source))
    prompt = random_prompt(scorer.lm.embedding, len(scorer.lm.tokenizer), plan.spec.prompt_length, 0)
    run = Folder(str(folder))
    run.write(PROMPT_NAME, prompt.to_bytes())
    schema = example_schema(plan.test)
    for shard, examples in enumerate(plan.shards):
        run.write(examples_name(shard), example_bytes(examples, schema))
    batch = numerics.batch_tokens, numerics.batch_cost
    shard_scorer = scorer.for_run(
        RunWork("", str(folder), shape, plan.spec, shape, plan.reading, plan.task.answer_end, *batch)
    )
    shard_scorer.make_references()
    return shard_scorer, numerics


def model_flops(scorer: ShardScorer, plan: JobPlan, shards: Sequence[int]) -> float:
    """Multiplications and additions that cannot be avoided: every text, the prompt and each distinct token behind it
    through the body once, attention with what stands before it, the LM head where a token is predicted."""
    lm, total = scorer.lm, 0.0
    of_token = 2 * sum(module.weight.numel() for module in lm.body.modules() if isinstance(module, torch.nn.Linear))
    heads = lm.config.num_hidden_layers * lm.config.num_attention_heads * lm.config.head_dim
    for shard in shards:
        for example in tokenize(lm.tokenizer, plan.shards[shard], plan.task.answer_end):
            tokens = example.size + plan.prompt_length
            scored = 1 + len(example.tree.tokens)
            total += tokens * of_token + 2 * tokens**2 * heads + 2 * scored * lm.head.weight.numel()
    return total


def score(scorer: ShardScorer, shards: Sequence[int]) -> tuple[list[Receipt], float]:
    """Receipts and seconds of shards that are given to the scorer as the pool gives them to an actor."""
    with ThreadPoolExecutor(QUEUE_DEPTH) as actor:
        begun = time.perf_counter()
        receipts = list(actor.map(lambda shard: scorer.score(shard, ""), shards))
        return receipts, time.perf_counter() - begun


@contextmanager
def kernels_seen(device: str) -> Iterator[list[float]]:
    """The list gets the seconds that a GPU was busy inside the block; without one it stays empty."""
    busy: list[float] = []
    if device != "cuda":
        yield busy
        return
    from torch._C._autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        yield busy
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA
    )
    end = total = 0.0
    for start, stop in spans:
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    busy.append(total / 1e6)


@click.command()
@click.option("--shape", type=click.Choice(list(SHAPES)), default="wide", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--shards", default=4, show_default=True, metavar="K", help="Beside one to warm up.")
@click.option("--shard-size", default=64, show_default=True, metavar="N", help="Examples.")
@click.option("--batch-tokens", type=int, metavar="N")
@click.option("--json", "json_file", type=click.Path(), help="Write the figures there.")
def main(
    shape: str, device: str, shards: int, shard_size: int, batch_tokens: int | None, json_file: str | None
) -> None:
    """Measure model FLOPs utilisation: of the peak of this device's matrix products, what the model's own are."""
    click.echo(machine())
    torch.set_num_threads(1)  # the scorer computes in a thread of its own
    limit = shard_size * (shards + 3)
    plan = plan_job(JobSpec("arithmetic", model=TINY, limit=limit, shard_size=shard_size, batch_tokens=batch_tokens))
    numbers = list(range(1, shards + 1))
    with tempfile.TemporaryDirectory() as folder:
        scorer, numerics = make_scorer(shape, device, Path(folder), plan)
        tokens = numerics.batch_tokens
        weights = (SHAPES[shape]["intermediate_size"], SHAPES[shape]["hidden_size"])
        with ThreadPoolExecutor(1, "peak", torch.set_num_threads, (available_cpus(),)) as other:
            like = scorer.lm.head.weight[:0]
            peak = 2 * tokens * math.prod(weights) / other.submit(product_seconds, tokens, weights, like).result()
        scorer.score(0, "")
        receipts, seconds = score(scorer, numbers)
        with kernels_seen(device) as busy:
            _, watched = score(scorer, numbers) if device == "cuda" else ([], 1.0)
    flops = model_flops(scorer, plan, numbers)
    figures = {
        "model_flops_utilisation": flops / seconds / peak,
        "peak_teraflops": peak / 1e12,
        "examples_per_second": sum(receipt.examples for receipt in receipts) / seconds,
        "tokens_per_second": sum(receipt.tokens for receipt in receipts) / seconds,
        "collecting_share": sum(receipt.seconds for receipt in receipts) / seconds,
        "megabytes_written": sum(receipt.bytes_written for receipt in receipts) / 1e6,
        "device_busy_share": busy[0] / watched if busy else None,
        "bit_exact": all(receipt.bit_exact for receipt in receipts),
    }
    click.echo(f"Llama {shape}, random, {numerics.dtype} on {device}, batches of {tokens} tokens:")
    for name, value in figures.items():
        click.echo(f"  {name.replace('_', ' '):<24} {'-' if value is None else f'{value:.3g}'}")
    if json_file:
        Path(json_file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
