"""`skilljobs runs` and `skilljobs status` on folders in which something is damaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from skilljobs.cli.main import main
from skilljobs.progress.job_progress import JobProgress
from skilljobs.store.run import PROGRESS_NAME, RunFiles
from tests.store.test_record import record

GOOD = json.loads(JobProgress(state="done", host="here", pid=7).written_now().to_bytes())


def run_command(*arguments: str, capsys: Any) -> tuple[int, list[str], list[str]]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    shown = capsys.readouterr()
    return int(str(ended.value.code)), shown.out.splitlines(), shown.err.splitlines()


def test_one_damaged_run_does_not_hide_the_others_nor_itself(tmp_path: Path, capsys: Any) -> None:
    for name in ("whole", "broken", "odd"):
        RunFiles(str(tmp_path / name)).save(record().model_copy(update={"run_id": name}))
    (tmp_path / "broken" / "run.json").write_text("[]")
    (tmp_path / "odd" / PROGRESS_NAME).write_text("[]")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / PROGRESS_NAME).write_text(json.dumps(GOOD))
    (tmp_path / "a folder of something else").mkdir()
    code, lines, _ = run_command("runs", "--out", str(tmp_path), capsys=capsys)
    assert code == 0
    assert sorted(line.split("  ")[-1] for line in lines) == [
        "done on here (process 7)",
        "stopped before prepare",
        "stopped before prepare",
        f"the run at {tmp_path / 'broken'} has a broken run.json: it is not a JSON object",
    ]
    code, lines, errors = run_command("status", str(tmp_path / "broken"), capsys=capsys)
    assert (code, lines, len(errors)) == (2, [], 1)
    code, lines, _ = run_command("status", str(tmp_path / "odd"), capsys=capsys)
    assert (code, lines[-1]) == (0, "  how its job is doing is not known: progress.json is damaged")


def test_a_place_that_cannot_be_read_is_named(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").touch()
    for arguments in (
        ("runs", "--out", str(tmp_path / "file")),
        ("runs", "--out", "nowhere://here"),
        ("status", "nowhere://here"),
        ("status", "a" * 5000),
        ("status", str(tmp_path / "file")),
    ):
        code, lines, errors = run_command(*arguments, capsys=capsys)
        assert (code, lines, len(errors)) == (2, [], 1), arguments


def test_a_table_that_polars_cannot_read_is_said_in_a_sentence(tmp_path: Path, capsys: Any) -> None:
    import polars as pl

    from skilljobs.cli.main import _exit_code

    (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing else")
    assert _exit_code(lambda: pl.scan_parquet(tmp_path / "t.parquet").collect(), debug=False) == 1
    said = capsys.readouterr().err
    assert said == "skilljobs: a table of the run cannot be read: `skilljobs verify RUN` names what is damaged\n"
