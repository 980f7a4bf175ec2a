"""Naming runs on the command line, wrong names, and completing names in a shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skilljobs.store.run import RunFiles
from tests.cli.test_runs import run_command
from tests.store.test_record import record


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with the runs `one` and `other`, and a folder of something else."""
    for name in ("one", "other"):
        RunFiles(str(tmp_path / "runs" / name)).save(record().model_copy(update={"run_id": name}))
    (tmp_path / "runs" / "neither").mkdir()
    return tmp_path / "runs"


def complete(*words: str) -> list[str]:
    """What bash would offer for the last word."""
    command = [sys.executable, "-c", "from skilljobs.cli.main import main; main()"]
    environment = os.environ | {
        "_SKILLJOBS_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("skilljobs", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_a_bare_id_is_looked_up_in_the_folder(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, _ = run_command("status", "one", "--out", str(runs), capsys=capsys)
    assert (code, lines[0].split(":")[0]) == (0, "one")
    monkeypatch.chdir(runs.parent)
    assert run_command("status", "other", capsys=capsys)[0] == 0
    RunFiles("one").save(record().model_copy(update={"run_id": "here"}))
    assert run_command("status", "one", capsys=capsys)[1][0].startswith("here:"), "a directory of that name comes first"
    code, _, errors = run_command("status", "none", capsys=capsys)
    assert (code, "there is no run at" in errors[0]) == (2, True)


def test_a_list_of_runs_says_what_each_is(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = run_command("runs", "--out", str(runs), capsys=capsys)
    assert (code, len(lines)) == (0, 2)
    spec = record().job_spec
    for part in (str(runs / "one"), str(spec.task or spec.data), "n = ", "accuracy -", " ago", " MB", "stopped before"):
        assert any(part in line for line in lines), part


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, errors = run_command("runs", "--out", str(tmp_path / "nowhere"), capsys=capsys)
    assert (code, lines) == (2, [])
    assert "there is no folder" in errors[0]


def test_a_wrong_command_is_told_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = run_command("statsu", "one", capsys=capsys)
    assert (code, "(did you mean 'status'?)" in errors[-1]) == (2, True)


def test_names_are_completed(runs: Path) -> None:
    assert complete("status", "--out", str(runs), "o") == ["one", "other"]
    assert complete("submit", "--task", "ar") == ["arithmetic"]
    assert complete("top", "nothing", "--metric", "c") == [], "a shell sees no error"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = run_command("completion", shell, capsys=capsys)
    assert code == 0
    assert any("_SKILLJOBS_COMPLETE" in line for line in lines)
