"""Jobs as TOML files: what is read is what the command line would have said."""

import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from skilljobs.cli.job_file import job_file_text, read_job_file
from skilljobs.cli.option_params import given_options
from skilljobs.cli.submit import submit
from skilljobs.errors import InputError
from skilljobs.spec import JobSpec
from skilljobs.store.run import RunFiles
from tests.cli.test_runs import run_command
from tests.store.test_record import record


def options_of(*arguments: str) -> dict[str, Any]:
    """What `submit` would be given."""
    context = submit.make_context("submit", list(arguments))
    return given_options(context.params, context)


def write(folder: Path, text: str) -> str:
    (folder / "job.toml").write_text(text, encoding="utf-8")
    return str(folder / "job.toml")


def test_a_file_says_what_the_command_line_says(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'task = "arithmetic"\nmetric = ["confidence", "carry"]\nby = "operation"\nlimit = 40\nhide-choices = true\n'
        'max_sums_gb = 1.5\nreport = false\nout = "elsewhere"\n',
    )
    words = ["--task", "arithmetic", "--metric", "confidence", "--metric", "carry", "--by", "operation", "--limit",
             "40", "--hide-choices", "--max-sums-gb", "1.5", "--no-report", "--out", "elsewhere"]  # fmt: skip
    in_file = options_of("--config", path)
    assert in_file.pop("config") == path
    assert in_file == options_of(*words)
    assert options_of("--config", path, "--limit", "8")["limit"] == 8, "the command line counts more"


def test_options_of_the_task_in_the_file_are_known(tmp_path: Path) -> None:
    path = write(tmp_path, 'task = "hans"\nlabel_words = ["yes", "no"]\n')
    assert options_of("--config", path)["label_words"] == ("yes", "no")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tune_stepz = 3", r"there is no option 'tune_stepz' \(did you mean 'tune_steps'\?\)"),
        ("task = ", "is not valid TOML"),
        ("task = {a = 1}", r"task is \{'a': 1\}; an option is a text"),
        ("metric = [true]", "metric is True"),
        ("config = 'other.toml'", "there is no option 'config'"),
    ],
)
def test_what_is_no_option_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        options_of("--config", write(tmp_path, text))


def test_a_fraction_is_no_whole_number(tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter, match=r"'1\.5' is not a valid integer"):
        options_of("--config", write(tmp_path, "limit = 1.5"))
    with pytest.raises(InputError, match=r"nowhere\.toml: No such file"):
        options_of("--config", str(tmp_path / "nowhere.toml"))


@pytest.mark.parametrize(
    "value", ["", "plain", "a\n\tb", "\"quoted\" and 'so'", "back\\slash", "\x7f\x00\x1b", "\u202e\U0001f642", True, -3,
              1e-7, ["one", "t\"wo", ""], []],
)  # fmt: skip
def test_what_is_written_is_read_again(value: Any) -> None:
    assert tomllib.loads(job_file_text({"key": value})) == {"key": value}


def test_the_file_of_a_run_makes_the_same_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = JobSpec(task="arithmetic", metric=("carry", "confidence"), learning_rate=1e-7, template="{prompt}\n\"'\\")
    RunFiles(str(tmp_path / "run")).save(record().model_copy(update={"spec": spec.as_json()}))
    code, lines, _ = run_command("show", str(tmp_path / "run"), "--config", capsys=capsys)
    assert code == 0
    options = options_of("--config", write(tmp_path, "\n".join(lines)))
    options.pop("config")
    assert JobSpec.from_values(options).digest == spec.digest
    code, lines, _ = run_command("show", str(tmp_path / "run"), capsys=capsys)
    assert (code, lines[0].startswith("skilljobs submit --task arithmetic --metric carry")) == (0, True)
    assert read_job_file(str(tmp_path / "job.toml")).options["learning_rate"] == "1e-07"
