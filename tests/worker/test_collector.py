"""Collecting where memory does not hold a batch whole: in a process that may really take no more."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
import torch
from skilljobs.spec import TINY
from tests.benchmarks.subject import Subject, model_spec

torch.set_num_threads(1)
subject = Subject.make(model_spec(TINY, None, 160, 100_000))
subject.collect(subject.accumulator(), slice(0, 8))
shard = subject.collector.prepare(subject.examples, subject.tokenized)
assert len(shard.batches) == 1
taken = next(line for line in open("/proc/self/status") if line.startswith("VmSize"))
limit = int(taken.split()[1]) * 1024 + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
accumulator = subject.accumulator()
collected = subject.collector.collect(shard, accumulator)
sums = accumulator.result()
neurons, metrics = subject.collector.references(shard)
found = {
    "exact": collected.bit_exact,
    "count": int(sums.count[0]),
    "confidence": [score.confidence for score in collected.scores.values()],
    "square": sums.square[0][0, 0].tolist(),
    "reference": neurons[0].ravel().tolist(),
    "metrics": metrics,
}
print(json.dumps(found))
"""


def test_a_batch_too_large_is_scored_in_parts_and_that_is_told() -> None:
    found = []
    for megabytes in (6000, 40):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(megabytes)], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    whole, parts = found
    assert (whole.pop("exact"), parts.pop("exact")) == (True, False)
    assert whole.pop("count") == parts.pop("count") == 160
    for name, values in whole.items():
        assert parts[name] == pytest.approx(values, rel=1e-4, abs=1e-5), name
