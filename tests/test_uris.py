"""Places named by a URI keep its query, and a secret in one is refused without being repeated."""

from pathlib import Path

import pytest

from skilljobs.api import submit
from skilljobs.errors import InputError
from skilljobs.spec import JobSpec
from skilljobs.store.files import Folder
from skilljobs.store.reader import RunReader
from skilljobs.store.run import RunFiles, prompt_uri
from skilljobs.store.run_list import list_runs
from skilljobs.uris import checked_place, child_uri, parent_and_name, with_option
from tests.store.test_record import record

QUERY = "?endpoint_override=http://127.0.0.1:9&region=us-east-1"


@pytest.mark.parametrize(
    ("place", "name", "child"),
    [
        ("runs", "mine", "runs/mine"),
        ("/runs/", "mine", "/runs/mine"),
        ("/a?b", "my run#1", "/a?b/my run#1"),
        ("s3://bucket/runs", "mine", "s3://bucket/runs/mine"),
        (f"s3://bucket/runs/{QUERY}", "mine", f"s3://bucket/runs/mine{QUERY}"),
        (f"s3://bucket/runs{QUERY}", "prompts/3", f"s3://bucket/runs/prompts/3{QUERY}"),
        ("s3://bucket", "50% of a?b#c é", "s3://bucket/50%25%20of%20a%3Fb%23c%20%C3%A9"),
    ],
)
def test_what_is_below_a_place(place: str, name: str, child: str) -> None:
    assert child_uri(place, name) == child
    if "/" not in name:
        assert parent_and_name(child) == (place.replace("/?", "?").rstrip("/"), name)


def test_an_option_joins_the_query() -> None:
    assert with_option("s3://b/a", "x", "true") == "s3://b/a?x=true"
    assert with_option("s3://b/a?", "x", "true") == "s3://b/a?x=true"
    assert with_option("s3://b/a?region=r", "x", "true") == "s3://b/a?region=r&x=true"
    assert with_option("s3://b/a?x=false", "x", "true") == "s3://b/a?x=false"


def test_a_folder_respects_the_query() -> None:
    folder = Folder(f"s3://bucket/runs{QUERY}")
    assert folder.root == "bucket/runs"
    assert folder.filesystem.region == "us-east-1"
    assert Folder(prompt_uri(folder.uri, 3)).root == "bucket/runs/prompts/3"


def test_runs_below_a_uri_with_odd_names_are_found(tmp_path: Path) -> None:
    place = f"{(tmp_path / 'all runs').as_uri()}?mode=any"
    for name in ("a b", "50%25#?", "é"):
        RunFiles(child_uri(place, name)).save(record().model_copy(update={"run_id": name}))
    assert {path.name for path in (tmp_path / "all runs").iterdir()} == {"a b", "50%25#?", "é"}
    assert {run.record.run_id for run in list_runs(place).readable} == {"a b", "50%25#?", "é"}
    assert RunReader(child_uri(place, "50%25#?")).record.run_id == "50%25#?"


SECRETS = [
    "s3://KEY:hunter2@bucket/runs",
    "s3://KEY:hun/ter2@bucket/runs",
    "s3://hunter2@bucket/runs",
    "hdfs://me:hunter2@namenode:8020/runs",
    "s3://bucket/runs?region=r&secret_key=hunter2",
    "s3://bucket/runs?access_key=hunter2",
    "s3://bucket/runs?AWS_SESSION_TOKEN=hunter2",
    "https://storage/data.jsonl?X-Amz-Signature=hunter2",
    "abfs://container@account/runs?sig=hunter2",
    "s3://[hunter2/runs",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_a_secret_in_a_uri_is_refused_and_not_repeated(uri: str, tmp_path: Path) -> None:
    attempts = {
        "--out": lambda: submit(task="arithmetic", out=uri),
        "--data": lambda: JobSpec(data=uri),
        "--train-data": lambda: JobSpec(task="hans", train_data=uri),
        "--soft-prompt": lambda: JobSpec(task="arithmetic", soft_prompt=uri),
        "--model": lambda: JobSpec(task="arithmetic", model=uri),
        "the place of a run": lambda: RunReader(uri).record,
    }
    for what, attempt in attempts.items():
        with pytest.raises(InputError) as refused:
            attempt()
        assert what in str(refused.value)
        assert "hunter2" not in str(refused.value)
        assert "ter2@" not in str(refused.value)


@pytest.mark.parametrize(
    "place",
    ["hdfs://namenode:8020/runs", "hdfs://me@namenode/a:b@c", "abfs://container@account.dfs.core.windows.net/runs",
     "s3://bucket/a:b@c", f"s3://bucket/runs{QUERY}", "runs/KEY:not-a-uri@x", "gs://bucket/runs"],
)  # fmt: skip
def test_a_place_without_a_secret_is_left_alone(place: str) -> None:
    assert checked_place(place, "--out") == place


def test_a_fragment_is_refused_because_it_would_be_dropped() -> None:
    with pytest.raises(InputError, match="--out is 's3://bucket/runs#1': write %23"):
        checked_place("s3://bucket/runs#1", "--out")
