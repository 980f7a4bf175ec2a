"""What is said of a series' examples is true however they are cut into shards."""

from pathlib import Path

import pytest

import skilljobs
from skilljobs.analysis.emergence import SeriesMember
from skilljobs.analysis.series_conclusions import may_mislead
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.reader import RunReader
from tests.tables import random_rows, write_jsonl

OTHER_EXAMPLES = "the models were not all tested and tuned on the same examples"


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_shards_of_another_size_hold_the_same_examples(tmp_path: Path, small_llama: Path) -> None:
    splits = ("train", "validation", "test", "test")
    rows = [row | {"split": splits[number % 4]} for number, row in enumerate(random_rows(60))]
    tables = {"one": rows, "other": [*rows[:-1], rows[-1] | {"text": "Another text:"}]}

    def submit(table: str, shard_size: int) -> SeriesMember:
        data = write_jsonl(tmp_path / f"{table}.jsonl", tables[table])
        run = skilljobs.submit(
            data=str(data), model=str(small_llama), soft_prompt="random", prompt_length=2, null=1, report=False,
            shard_size=shard_size, run_id=f"{table}-{shard_size}", out=str(tmp_path), reporter=SilentReporter(),
        )  # fmt: skip
        return SeriesMember(run.record.run_id, RunReader(run.uri))

    small, large, other = submit("one", 5), submit("one", 20), submit("other", 20)
    digests = [member.run.record.fingerprint.fields["examples_digest"] for member in (small, large)]
    assert digests[0] != digests[1]
    assert not any(OTHER_EXAMPLES in sentence for sentence in may_mislead([small, large]))
    assert any(OTHER_EXAMPLES in sentence for sentence in may_mislead([large, other]))
    assert any(OTHER_EXAMPLES in sentence for sentence in may_mislead([small, other]))
