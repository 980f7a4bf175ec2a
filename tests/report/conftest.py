"""One small run, with hostile text in its data, that all tests of the report share."""

from pathlib import Path

import pytest

import skilljobs
from skilljobs.progress.reporter import SilentReporter
from tests.tables import random_rows, write_jsonl

HOSTILE = "</script><script>window.taken = true; document.title = 'taken over'</script>"
BAD_KIND = '<img src=x onerror="window.taken = true">'
BAD_COLUMN = "</script><script>window.taken=1//\u2028<!--"


@pytest.fixture(scope="session")
def run(ray_here: object, tmp_path_factory: pytest.TempPathFactory, small_llama: Path) -> skilljobs.Run:
    folder = tmp_path_factory.mktemp("report")
    rows = []
    for row in random_rows(300):
        kind = BAD_KIND if row["kind"] == "a" else "plain $x$"
        rows.append(row | {"text": f"{HOSTILE} {row['text']}", "kind": kind, BAD_COLUMN: row["words"] % 2 == 0})
    data = write_jsonl(folder / "table.jsonl", rows)
    return skilljobs.submit(data=str(data), model=str(small_llama), soft_prompt="random", prompt_length=3, by="kind",
                            null=4, out=str(folder), shard_size=30, reporter=SilentReporter())  # fmt: skip


@pytest.fixture(scope="session")
def page(run: skilljobs.Run) -> Path:
    return Path(run.uri) / "report.html"
