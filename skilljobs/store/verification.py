"""Checking a whole run for damage."""

from skilljobs.store.attempts import SUMS_KINDS
from skilljobs.store.integrity import damaged_names
from skilljobs.store.run import RunFiles
from skilljobs.store.shards import committed_receipt, examples_name, scores_name


def damaged_files(run: RunFiles, thorough: bool) -> list[str]:
    """The damaged or missing files of a run, and of the runs of its prompts; names are relative to the run.

    `thorough`: whether contents are read, those of shards among them; otherwise sizes are compared.
    """
    damaged = _own_damage(run, thorough)
    for number, prompt_run in enumerate(run.prompt_runs):
        if prompt_run.exists:
            damaged += [f"prompts/{number}/{name}" for name in _own_damage(prompt_run, thorough)]
    return damaged


def _own_damage(run: RunFiles, thorough: bool) -> list[str]:
    record = run.record
    damaged = [name for done in record.stages.values() for name in damaged_names(run.folder, done.files, thorough)]
    if thorough and record.is_done("collect"):
        prepared = record.stages["prepare"].files
        without = SUMS_KINDS if record.sums_dropped else ()
        for shard in range(len(record.shards)):
            receipt = committed_receipt(run.folder, shard, record.fingerprint.digest, without)
            examples = prepared.get(examples_name(shard))
            if receipt is None or (examples and receipt.files.get(examples_name(shard)) != examples.sha256):
                damaged.append(scores_name(shard))
    return damaged


def checked_files(run: RunFiles) -> int:
    """How many files a thorough check reads."""
    record = run.record
    count = sum(len(done.files) for done in record.stages.values())
    of_shard = 2 if record.sums_dropped else 3
    count += of_shard * len(record.shards) if record.is_done("collect") else 0
    return count + sum(checked_files(prompt_run) for prompt_run in run.prompt_runs if prompt_run.exists)
