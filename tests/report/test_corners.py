"""Reports are also written for runs in which something is missing or unusual."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import skilljobs
from skilljobs.errors import InputError
from skilljobs.progress.reporter import SilentReporter
from tests.tables import random_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def submit(folder: Path, model: Path, rows: list[dict[str, Any]], **spec: Any) -> skilljobs.Run:
    data = write_jsonl(folder / "table.jsonl", rows)
    common: dict[str, Any] = {
        "model": str(model),
        "soft_prompt": "random",
        "prompt_length": 2,
        "null": 2,
        "out": str(folder),
    }
    return skilljobs.submit(data=str(data), reporter=SilentReporter(), **(common | spec))


@pytest.mark.parametrize("case", ["constant", "odd names", "open and one half", "each"])
def test_the_report_is_written(tmp_path: Path, small_llama: Path, case: str) -> None:
    rows, spec = random_rows(60), {}
    if case == "constant":
        rows = [row | {"split": "test", "fixed": 1} for row in rows]
        spec = {"metric": "fixed"}
    elif case == "odd names":
        spec = {"by": "steering\x1b"}
        rows = [
            row
            | {"layer": n % 7, "neuron": n % 5, "a=b=c": n % 3, "k": "x=y" if n % 2 else "z", "many": f"m {n % 15}"}
            | {"steering\x1b": ("\x1b[31m", "\x00", "\x08")[n % 3]}
            for n, row in enumerate(rows)
        ]
    elif case == "open and one half":
        rows = [
            {"text": row["text"], "target": " 7", "words": row["words"], "split": "test", "unit": "the only one"}
            for row in rows
        ]
    else:
        spec = {"tokens": "each", "by": "kind"}
    run = submit(tmp_path, small_llama, rows, **spec)
    assert run.record.stages["report"].state == "done"
    page = Path(run.uri, "report.html").read_text(encoding="utf-8")
    assert "How strong are the neurons?" in page
    assert not set("\x00\x08\x1b") & set(page)
    for figure in Path(run.uri, "figures").glob("*.svg"):
        ET.parse(figure)


def test_several_prompts_have_one_report(tmp_path: Path, small_llama: Path) -> None:
    run = submit(tmp_path, small_llama, random_rows(60), prompts=2, by="kind")
    page = Path(run.uri, "report.html").read_text(encoding="utf-8")
    assert "Do the soft prompts agree" in page
    assert not (Path(run.uri) / "prompts" / "0" / "report.html").exists()


def test_a_column_named_like_a_metric_is_refused(tmp_path: Path, small_llama: Path) -> None:
    rows = [row | {"confidence": "high" if n % 2 else "low"} for n, row in enumerate(random_rows(30))]
    with pytest.raises(InputError, match="'confidence' has the name of one of skilljobs' own"):
        submit(tmp_path, small_llama, rows)
