"""Exported neurons: every program runs without skilljobs and finds the stored activations, whatever the run read."""

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import skilljobs
from skilljobs.cli.main import main
from skilljobs.errors import InputError
from skilljobs.export.exporting import FORMATS
from skilljobs.progress.reporter import SilentReporter
from tests.chats import OPENING, save_chat_llama
from tests.masked_models import review_rows, save_masked
from tests.shared_models import SHAREABLE, save_random
from tests.tables import random_rows, write_jsonl

pytestmark = pytest.mark.ray

PROGRAMS = [name for name in FORMATS if name != "csv"]
LIBRARY = {"nnsight": "nnsight", "transformerlens": "transformer_lens"}
COMPARED = re.compile(r"(\d+) activations compared; the largest difference, .*, is (\S+)\n")


def submit(out: Path, model: Path, rows: list[dict[str, Any]] | None = None, **options: Any) -> skilljobs.Run:
    data = write_jsonl(out / "table.jsonl", rows or random_rows(60))
    common = {"soft_prompt": "random", "prompt_length": 3, "null": 1, "run_id": "mine", "report": False}
    return skilljobs.submit(
        data=str(data), model=str(model), out=str(out), reporter=SilentReporter(), **{**common, **options}
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tokenizer puts a token in front of every text."""
    return save_chat_llama(tmp_path_factory.mktemp("model") / "model", OPENING)


@pytest.fixture(scope="module")
def run(ray_here: object, model: Path, tmp_path_factory: pytest.TempPathFactory) -> skilljobs.Run:
    return submit(tmp_path_factory.mktemp("plain"), model, few_shot=1)


def compared(program: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, float]:
    """How many activations a program compared in this process, and the largest difference."""
    file = folder / "program.py"
    file.write_text(program, encoding="utf-8")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(file), run_name="__main__")
    match = COMPARED.search(capsys.readouterr().out)
    assert ended.value.code in (0, None), ended.value.code
    assert match, program
    return int(match[1]), float(match[2])


@pytest.mark.parametrize("form", PROGRAMS)
def test_a_program_finds_the_stored_activations_without_skilljobs(
    run: skilljobs.Run, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if form in LIBRARY and find_spec(LIBRARY[form]) is None:
        pytest.skip(f"{LIBRARY[form]} is not installed (skilljobs[bench])")
    file = tmp_path / "neurons.py"
    with pytest.raises(SystemExit) as ended:
        main(["export", run.uri, "--metric", "words", "-k", "12", "--format", form, "--output", str(file)])
    assert (ended.value.code, capsys.readouterr().out) == (0, "")
    assert file.read_text() == run.export("words", k=12, format=form)
    checked = tmp_path / "checked.py"
    checked.write_text(
        "import runpy, sys\n"
        "class Refusing:\n"
        "    def find_spec(self, name, *_):\n"
        "        assert name.partition('.')[0] not in ('skilljobs', 'tests'), name\n"
        "sys.meta_path.insert(0, Refusing())\n"
        f"runpy.run_path({str(file)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, checked], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    match = COMPARED.search(done.stdout)
    assert match, done.stdout
    assert int(match[1]) >= 8 * 10
    assert float(match[2]) < 2e-5


def test_a_program_says_so_if_the_model_is_not_the_same(
    run: skilljobs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save_chat_llama(tmp_path / "other", OPENING, seed=1)
    program = run.export("words", format="hooks").replace(ascii(run.record.spec["model"]), ascii(str(other)))
    (tmp_path / "program.py").write_text(program)
    with pytest.raises(SystemExit, match="it is not what the run read"):
        runpy.run_path(str(tmp_path / "program.py"), run_name="__main__")


@pytest.mark.parametrize(
    "options",
    [{"tokens": "each"}, {"soft_prompt": "none"}, {"chat": True, "few_shot": 1, "tokens": "last"}],
    ids=["each", "none", "chat, last"],
)
def test_positions_and_texts_are_those_of_the_run(
    ray_here: object, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any]
) -> None:
    made = submit(tmp_path, model, **options)
    count, difference = compared(made.export("words", k=8), tmp_path, capsys)
    assert count >= 8 * 8
    assert difference < 2e-5
    table = pl.read_csv(made.export("words", k=3, format="csv").encode())
    assert table["module"].str.contains(r"^model\.layers\.[01]\.mlp\.down_proj$").all()
    assert table["r"].to_list() == made.top("words", k=3)["r"].to_list()
    places = table.select("token", "first_position", "last_position").rows()
    match options:
        case {"tokens": "each"}:
            assert places == [(token, token - 3, token - 3) for token in made.top("words", k=3)["token"]]
        case _:
            assert places == [(None, -1, -1)] * 3


def test_neurons_of_experts_are_read_and_named(
    ray_here: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = submit(tmp_path, save_random(tmp_path / "mixture", SHAREABLE["qwen2_moe"]()))
    table = pl.read_csv(made.export("words", k=40, format="csv").encode())
    assert 0 < table["expert"].null_count() < 40
    in_experts = pl.col("module").str.ends_with("mlp.experts") == pl.col("expert").is_not_null()
    assert table.select(in_experts.all()).item()
    count, difference = compared(made.export("words", k=40), tmp_path, capsys)
    assert count >= 8 * 10
    assert difference < 2e-5
    for form in ("nnsight", "transformerlens"):
        with pytest.raises(InputError, match=f"--format {form}: some of the neurons are in experts.*hooks reads them"):
            made.export("words", k=40, format=form)


def test_a_masked_language_model_has_its_prompt_in_front(
    ray_here: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = submit(tmp_path, save_masked(tmp_path / "bert"), review_rows(60))
    count, difference = compared(made.export("words", k=8), tmp_path, capsys)
    assert count == 8 * 8
    assert difference < 2e-5
    table = pl.read_csv(made.export("words", k=1, format="csv").encode())
    assert table.select("first_position", "last_position").row(0) == (1, 3)
    with pytest.raises(InputError, match="TransformerLens reads the neurons of a BertForMaskedLM was not tried"):
        made.export("words", format="transformerlens")


def test_no_name_or_path_becomes_code(
    run: skilljobs.Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = '\'"""\nimport os; os.mkdir("owned")\n# {MODEL} \\ \u202e'
    place, there = tmp_path / f"run{hostile}", tmp_path / f"model{hostile}"
    shutil.copytree(run.uri, place)
    shutil.copytree(model, there)
    record = json.loads((place / "run.json").read_text())
    record |= {"run_id": hostile, "spec": record["spec"] | {"model": str(there)}}
    (place / "run.json").write_text(json.dumps(record))
    moved = skilljobs.open_run(place)
    for form in PROGRAMS:
        program = moved.export("words", k=3, format=form)
        assert program.isascii()
        statements, expected = (ast.parse(text).body for text in (program, run.export("words", k=3, format=form)))
        assert [type(one) for one in statements] == [type(one) for one in expected]
    count, _ = compared(moved.export("words", k=3), tmp_path, capsys)
    assert count > 0
    assert not list(tmp_path.rglob("owned"))


def changed(run: skilljobs.Run, folder: Path, **spec: object) -> skilljobs.Run:
    """The run with other options in its record."""
    record = json.loads(Path(run.uri, "run.json").read_text())
    record["spec"] |= spec
    (shutil.copytree(run.uri, folder) / "run.json").write_text(json.dumps(record))
    return skilljobs.open_run(folder)


def test_what_cannot_be_exported_is_refused_with_the_reason(
    run: skilljobs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = changed(run, tmp_path / "heads", units="heads")
    with pytest.raises(InputError, match=r"read heads \(--units\), and only neurons can be exported"):
        heads.export("words", format="csv")
    with pytest.raises(InputError, match="only that code, which an export does not run"):
        changed(run, tmp_path / "code", trust_remote_code=True).export("words")
    for spec, reason in (
        ({"prompts": 2}, r"has 2 soft prompts, and neurons are read at one: export one of its runs, .*/prompts/0"),
        ({"adapter": "lora"}, r"merged an adapter into the weights .* --format csv gives the places alone"),
        ({"quantize": "4bit"}, r"quantized the weights \(--quantize 4bit\)"),
    ):
        other = changed(run, tmp_path / next(iter(spec)), **spec)
        for form in PROGRAMS:
            with pytest.raises(InputError, match=reason):
                other.export("words", format=form)
    moved = changed(run, tmp_path / "moved", model=str(save_chat_llama(tmp_path / "other", OPENING, seed=1)))
    with pytest.raises(InputError, match="is not the one that the run"):
        moved.export("words", format="csv")
    with pytest.raises(InputError, match=r"no format 'hook'.*hooks"):
        run.export("words", format="hook")
    capsys.readouterr()
    for words, message in (
        (["--metric", "word"], "did you mean 'words'?"),
        (["--metric", "words", "--population", "kind=c"], "has no population 'kind=c'"),
        (["--metric", "words", "--output", str(tmp_path / "no" / "file.py")], "No such file or directory"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["export", run.uri, *words])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
