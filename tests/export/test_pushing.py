"""Publishing a run: on a stand-in for the Hugging Face hub through the real client, and in a folder."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

import skilljobs
from skilljobs.cli.main import main
from skilljobs.errors import InputError, JobFailed
from skilljobs.export.dataset_card import code, dataset_card
from skilljobs.export.pushing import push
from skilljobs.progress.reporter import SilentReporter
from skilljobs.store.run import RunFiles
from skilljobs.store.verification import damaged_files
from tests.hub_server import TOKEN, HubServer, hub_server
from tests.tables import random_rows, write_jsonl

PLACE = "hf://datasets/somebody/neurons"


@pytest.fixture(scope="module")
def whole(ray_here: object, small_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run = skilljobs.submit(
        data=str(write_jsonl(folder / "table.jsonl", [*random_rows(60), {"text": "SECRET ROW"}])), max_bad_rows=0.5,
        model=str(small_llama), soft_prompt="random", prompt_length=2, null=1, out=str(folder), run_id="mine",
        report=False, reporter=SilentReporter(),
    )  # fmt: skip
    Path(run.uri, "report.html").write_text("<p>shows texts")
    return Path(run.uri)


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> RunFiles:
    """In a directory in which somebody left files of their own."""
    place = shutil.copytree(whole, tmp_path / "mine")
    for name in (".env", "my-token.txt", "private.parquet", "examples/.part-9.parquet", "lease/notes.json"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text("private")
    return RunFiles(str(place))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        files = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        at_import = {"ENDPOINT": server.url, "HUGGINGFACE_CO_URL_TEMPLATE": files, "HF_HUB_OFFLINE": False}
        for name, value in at_import.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def exit_code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["push", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.ray
def test_a_run_is_published_on_the_hub_and_brought_up_to_date(
    run: RunFiles, hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(run.uri, PLACE, "--dry-run") == 0
    assert hub.requests == [], "nothing is asked of the hub"
    planned = capsys.readouterr().out
    assert exit_code(run.uri, PLACE) == 0
    assert capsys.readouterr().out == f"{PLACE}\n"
    assert planned.startswith(f"{len(hub.files)} files, {sum(map(len, hub.files.values())) / 1e6:.1f} MB")
    assert hub.made | {"name": "neurons", "visibility": "private", "type": "dataset"} == hub.made
    assert hub.unauthorised == set()
    assert not [name for name in hub.files if "sums" in name or b"private" in hub.files[name][:7]]
    assert not [name for name in hub.files if name.endswith(("log.txt", "progress.json", "lease/000001.json"))]

    copy = tmp_path / "copy"
    for name, data in hub.files.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(data)
    opened = skilljobs.open_run(copy)
    assert opened.top("words", k=5).equals(skilljobs.open_run(run.uri).top("words", k=5))
    assert damaged_files(RunFiles(str(copy)), thorough=True) == []
    with pytest.raises(InputError, match="cannot do that any more"):
        opened.sums()

    card = hub.files["README.md"].decode()
    front = yaml.safe_load(card.split("---\n")[1])
    assert "license" not in front
    assert {one["config_name"] for one in front["configs"]} >= {"top", "correlations", "examples"}
    mine = card.replace("pretty_name", "license: cc-by-4.0\npretty_name").encode()
    hub.files |= {"README.md": mine, "notes.md": b"somebody's"}
    assert exit_code(run.uri, PLACE, "--no-texts") == 0
    assert hub.files["README.md"] == mine
    assert hub.files["notes.md"] == b"somebody's"
    assert "README.md) was left as it is" in capsys.readouterr().err
    assert not [name for name in hub.files if "examples" in name or name.endswith("report.html")]
    assert b"SECRET" not in b"".join(hub.files.values())
    assert json.loads(hub.files["run.json"])["quarantined"][0]["reason"] == "not published"

    hub.files = {"run.json": b'{"fingerprint": {"digest": "other"}}'}
    assert exit_code(run.uri, PLACE) == 2
    assert f"{PLACE} holds another run" in capsys.readouterr().err
    hub.files = {"data.csv": b"1,2"}
    assert exit_code(run.uri, PLACE) == 2
    assert list(hub.files) == ["data.csv"]
    hub.files, hub.forbidden = {}, True
    capsys.readouterr()
    assert exit_code(run.uri, PLACE) == 1
    error = capsys.readouterr().err
    assert "does not let this token write hf://datasets/somebody/neurons (it answered 403)" in error
    assert error.count("\n") == 2, "what is published, and the reason"


@pytest.mark.ray
def test_a_run_is_published_in_a_folder(run: RunFiles, tmp_path: Path) -> None:
    place = str(tmp_path / "published")
    pushed = push(run, place, shards=True)
    assert damaged_files(RunFiles(place), thorough=True) == []
    assert skilljobs.open_run(place).sums().collect().height > 0
    assert pushed.size == RunFiles(place).folder.total_size
    push(run, place)
    assert not list(Path(place).rglob("sums-*"))
    assert damaged_files(RunFiles(place), thorough=True) == []
    assert pl.read_parquet(Path(place, "examples", "*.parquet"))["text"].null_count() == 0
    for wrong, message in (
        (run.uri, "is the run itself"),
        (str(tmp_path), "holds files and no run"),
        ("s3://key:secret@bucket/run", "holds a secret"),
    ):
        with pytest.raises(InputError, match=message):
            push(run, wrong)


@pytest.mark.ray
def test_what_cannot_be_published_is_said_in_one_sentence(
    run: RunFiles, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("hf://somebody/neurons", "hf://models/a/b", "hf://datasets/a", "hf://datasets/a/-b--c"):
        with pytest.raises(InputError, match=r"hf://.* is not a "):
            push(run, place)
    assert exit_code(str(tmp_path / "nothing"), PLACE) == 2
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(InputError, match=r"needs a token that may write: log in with `hf auth login`, or set HF_TOKEN"):
        push(run, PLACE)
    monkeypatch.undo()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(JobFailed, match="the Hugging Face hub could not be reached"):
        push(run, PLACE)  # HF_HUB_OFFLINE is set for all tests
    record = json.loads(run.folder.read("run.json"))
    del record["stages"]["reduce"]
    run.folder.write("run.json", json.dumps(record).encode())
    with pytest.raises(InputError, match=r"is not complete \(it lacks reduce\)"):
        push(RunFiles(run.uri), PLACE)


@pytest.mark.ray
def test_text_from_data_cannot_break_the_card(whole: Path) -> None:
    record = RunFiles(str(whole)).record
    hostile = "x`\n---\n# owned <script> {} ``"
    columns = record.columns.model_copy(update={"metrics": (hostile,)})
    card = dataset_card(
        record.model_copy(update={"run_id": hostile, "columns": columns}), [], "hf://datasets/a/b", texts=True
    )
    assert card.count("\n---\n") == 1
    assert yaml.safe_load(card.split("---\n")[1])["pretty_name"] == f"Skill neurons: {hostile}"
    assert "\n# owned" not in card
    assert code(hostile) == "``` x`\\n---\\n# owned <script> {} `` ```"
