"""How many examples a shard needs for the writing of its sums to be a small part of the work on it."""

import math

from skilljobs.checkpoints.source import ModelSource
from skilljobs.plan.footprint import weights_bytes
from skilljobs.plan.job_plan import JobPlan

WRITING_SHARE = 0.05
"""Of the time that a shard is collected in."""
SHARD_SECONDS, BYTE_SECONDS = 0.005, 1.5e-9
"""To write a shard, and to write a byte of its sums, as measured (tests/benchmarks/RESULTS.md)."""
EXAMPLE_SECONDS = 0.001
"""Of a processor for each example, beside the model's passes."""
GPU_FLOPS, CPU_FLOPS = 2e14, 5e10
"""Operations a second: of a CPU's thread as measured, and of a GPU as estimated."""
CHARACTERS_OF_TOKEN = 4
FEWEST_SHARDS = 8
"""There are not fewer for the sake of larger ones, so that several scorers find work in half of the examples, too."""
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


def default_shard_size(plan: JobPlan, on_gpu: bool) -> int:
    """The examples of a shard of a new run: those of `plan`, or more if that pays and leaves `FEWEST_SHARDS`."""
    if plan.spec.until_ci is not None:  # which decides between shards
        return plan.shard_size
    return max(plan.shard_size, min(paying_shard_size(plan, on_gpu), len(plan.test) // FEWEST_SHARDS))


def paying_shard_size(plan: JobPlan, on_gpu: bool) -> int:
    """The examples from which on a shard's sums are written in at most `WRITING_SHARE` of the time it is collected in.

    It is estimated from the sizes of model, texts and sums alone, so that it is the same each time; 1 if the size of
    the sums is not known yet.
    """
    if plan.sums_size == 0:
        return 1
    writing = SHARD_SECONDS + BYTE_SECONDS * plan.sums_size
    operations = 2 * _used_weights(plan.source) * _tokens_of_example(plan)
    collecting = EXAMPLE_SECONDS + operations / (GPU_FLOPS if on_gpu else CPU_FLOPS)
    return math.ceil(writing / (WRITING_SHARE * collecting))


def _tokens_of_example(plan: JobPlan) -> float:
    """Of the first examples, on average."""
    first = next(iter(plan.test.blocks()))
    return plan.prompt_length + float(first.lengths.mean()) / CHARACTERS_OF_TOKEN


def _used_weights(source: ModelSource) -> float:
    """The weights that a token is multiplied with: not its embedding, and of experts those that it is sent to."""
    config, vocabulary = source.config, source.config.get("vocab_size")
    numbers = weights_bytes(source, "float32") / 4
    if isinstance(vocabulary, int):
        numbers = max(numbers / 2, numbers - vocabulary * (source.width or 0))
    experts = next((config[name] for name in _EXPERTS if isinstance(config.get(name), int)), 0)
    chosen = config.get("num_experts_per_tok")
    return numbers * chosen / experts if experts and isinstance(chosen, int) and chosen < experts else numbers
