"""Bad usage and bad input end with exit code 2 and one sentence, before Ray is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from skilljobs.cli.main import main
from tests.tables import random_rows, write_jsonl

RUN = """
import sys
from skilljobs.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("ray" in sys.modules, "torch" in sys.modules)
"""


def skilljobs(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


CASES = [
    ("submit", "say which task"),
    ("submit --task arithmatic", "'arithmatic'"),
    ("submit --task arithmetic --data nowhere.jsonl", "nowhere.jsonl"),
    ("submit --task arithmetic --model nowhere", "'nowhere'"),
    ("submit --task arithmetic --metric confidance", "'confidance'"),
    ("submit --task arithmetic --by operations", "'operations'"),
    ("submit --task arithmetic --unit pair", "'pair'"),
    (
        "submit --task arithmetic --hide-choices --metric last_digit_decides",
        "--hide-choices keeps them out of the text",
    ),
    ("submit --task arithmetic --template {prompt}Q:{input}", "standard deviation over examples is exactly 0"),
    ("submit --task arithmetic --template {question}", "'question'"),
    ("submit --task arithmetic --soft-prompt nowhere", "nowhere"),
    ("submit --task arithmetic --revision main", "--revision main is for models on the Hugging Face hub"),
    ("submit --task arithmetic --system Hello", "--system is a turn of a chat: it needs --chat"),
    ("submit --task arithmetic --few-shot 9000", "--few-shot 9000 needs as many train examples"),
    ("submit --task arithmetic --few-shot -1", "--few-shot"),
    ("submit --task arithmetic --limit 0", "--limit is 0"),
    ("submit --task arithmetic --prompt-length 0", "--prompt-length"),
    ("submit --task arithmetic --prompts 0", "--prompts is 0"),
    ("submit --task arithmetic --prompts 2 --soft-prompt none", "--soft-prompt none gives one"),
    ("submit --task arithmetic --tokens some", "'some'"),
    ("submit --task arithmetic --max-sums-gb 0.001", "--max-sums-gb"),
    ("submit --data rows.jsonl --model tiny", "row 8 is bad: `answer` is 9, out of range for"),
    ("submit --data rows.jsonl", "needs a model"),
    ("submit --data rows.jsonl --model tiny --hide-choices", "--hide-choices is not for the task table"),
    ("submit --task arithmetic --label-words yes no", "--label-words is not for the task arithmetic"),
    ("submit --task hans", "needs a model"),
    ("submit --task hans --model tiny --data rows.jsonl", "it is not a file of NLI pairs"),
    ("submit --task hans --model tiny --train-data nowhere.tsv", "nowhere.tsv"),
    ("submit --task arithmetic --run-id ../x", "--run-id '../x': the name of a run is the name of one folder"),
    ("submit --task arithmetic --shard-timeout 0", "'--shard-timeout': 0.0 is not in the range x>0"),
    ("submit --task arithmetic --run-id .", "--run-id '.'"),
    ("submit --task arithmetic --out=", "--out '' names no folder"),
    ("submit --task arithmetic --out s3://", "--out 's3://' names no folder"),
    ("submit --task arithmetic --depth 3", "--depth"),
    ("submit --task arithmetic --data .", "is a directory, not a file"),
    ("submit --task arithmetic --out s3://KEY:hunter2@bucket/runs", "--out holds a secret"),
    ("submit --data s3://KEY:hunter2@bucket/rows.jsonl --model tiny", "--data holds a secret"),
    ("submit --task arithmetic --soft-prompt s3://b/p?secret_key=hunter2", "--soft-prompt holds a secret"),
    ("submit --task arithmetic --soft-prompt rows.jsonl", "it is not a whole safetensors file"),
    ("status s3://KEY:hunter2@bucket/runs/mine", "holds a secret"),
    ("runs --out s3://KEY:hunter2@bucket/runs", "holds a secret"),
    ("top nowhere --metric confidence", "nowhere"),
    ("status nowhere", "nowhere"),
    ("frobnicate", "frobnicate"),
]


@pytest.mark.parametrize(("line", "message"), CASES)
def test_bad_input_is_named_and_nothing_is_started(tmp_path: Path, line: str, message: str) -> None:
    rows = random_rows(20)
    rows[7]["answer"] = 9
    write_jsonl(tmp_path / "rows.jsonl", rows)
    code, out, err = skilljobs(*line.split(), cwd=tmp_path)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert "hunter2" not in err
    assert out == "False False\n"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    if not err.startswith("Usage"):
        assert err.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    code, _, err = skilljobs("submit", "--task", "nope", "--debug", cwd=tmp_path)
    assert code == 2
    assert "Traceback" in err


def test_help_of_every_command_has_an_example(tmp_path: Path) -> None:
    from skilljobs.cli.main import COMMANDS

    for command in COMMANDS:
        code, out, _ = skilljobs(command, "--help", cwd=tmp_path)
        assert code == 0
        assert f"skilljobs {command}" in out.replace("Usage: skilljobs", "")
        assert out.endswith("False False\n")


def test_tasks_and_runs(tmp_path: Path) -> None:
    assert "arithmetic" in skilljobs("tasks", cwd=tmp_path)[1]
    code, _, err = skilljobs("runs", cwd=tmp_path)
    assert (code, "there is no folder" in err) == (2, True)
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "run.json").write_text(json.dumps({"format": 99}))
    code, _, err = skilljobs("status", "runs/broken", cwd=tmp_path)
    assert (code, "format version 99" in err) == (2, True)


def test_an_option_that_is_given_twice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Click takes the last one, so that half of what was asked for would be left out without a word."""
    for words, flag in (
        (["submit", "--task", "arithmetic", "--model", "tiny", "--model", "other"], "--model"),
        (["ablate", "RUN", "-k", "1", "--k", "2"], "--k"),
        (["top", "RUN", "--metric", "confidence", "--metric", "margin"], "--metric"),
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2
        assert f"{flag} is given 2 times" in capsys.readouterr().err


def test_help_imports_nothing_that_reads_data() -> None:
    program = RUN.replace('"ray" in sys.modules, "torch" in sys.modules', "*sys.modules")
    done = subprocess.run(
        [sys.executable, "-c", program, "submit", "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    imported = set(done.stdout.splitlines()[-1].split())
    assert "skilljobs.tasks.table" in imported
    assert not imported & {"pyarrow", "polars", "numpy", "ray", "torch"}
