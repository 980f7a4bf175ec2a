"""What Ray's dashboard shows of a job: its message, and the names of its scorers."""

import json
import re
import time

import pytest
import ray
from ray.dashboard.modules.job.common import JOB_ID_METADATA_KEY, JobInfo, JobInfoStorageClient
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put
from ray.util import list_named_actors

from skilljobs.cluster import jobs_page
from skilljobs.cluster.jobs_page import JOB_CONFIG, RECORDS, set_message, shown_on_jobs_page, submitted_job
from skilljobs.cluster.ranked_scorer import _start_actor
from skilljobs.progress.reporter import SilentReporter

JOB = "skilljobs-mine-abc"
KEY = JobInfoStorageClient.JOB_DATA_KEY.format(job_id=JOB).encode()


def stored() -> JobInfo | None:
    found = _internal_kv_get(KEY, namespace=RECORDS)
    return JobInfo.from_json(json.loads(found)) if found else None  # type: ignore[func-returns-value]


def store(status: str) -> JobInfo:
    info = JobInfo(status=status, entrypoint="skilljobs submit", metadata={"skilljobs.uri": "/runs/mine"}, start_time=7)
    _internal_kv_put(KEY, json.dumps(info.to_json()).encode(), namespace=RECORDS)
    return info


def submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the command of a submitted job, as Ray tells it."""
    monkeypatch.setenv(JOB_CONFIG, json.dumps({"runtime_env": {}, "metadata": {JOB_ID_METADATA_KEY: JOB}}))


def test_only_the_command_of_a_submitted_job_has_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = SilentReporter()
    for value in (None, "", "{", "[]", '{"metadata": null}', "{}"):
        monkeypatch.delenv(JOB_CONFIG, raising=False)
        if value is not None:
            monkeypatch.setenv(JOB_CONFIG, value)
        assert submitted_job() is None
        with shown_on_jobs_page(reporter) as shown:
            assert shown is reporter
    submitted(monkeypatch)
    assert submitted_job() == JOB


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_the_message_alone_changes_and_only_while_the_job_runs() -> None:
    try:
        assert not set_message(JOB, "tune"), "there is no such job"
        assert stored() is None
        before = store("RUNNING")
        assert set_message(JOB, "tune: 43 %")
        after = stored()
        assert after is not None
        assert after.message == "tune: 43 %"
        after.message = before.message
        assert after == before
        for status in ("PENDING", "SUCCEEDED", "FAILED", "STOPPED"):
            ended = store(status)
            assert not set_message(JOB, "tune: 44 %")
            assert stored() == ended, "how a job ended stands"
    finally:
        _internal_kv_del(KEY, namespace=RECORDS)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_job_says_what_it_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_page, "EVERY_SECONDS", 0.01)
    submitted(monkeypatch)

    def says(pattern: str) -> bool:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if (found := stored()) and re.fullmatch(pattern, found.message or ""):
                return True
            time.sleep(0.01)
        return False

    store("RUNNING")
    try:
        with shown_on_jobs_page(SilentReporter()) as shown:
            shown.begin("load", None)
            assert says("load")
            shown.end("tiny, 1,792 neurons", 1.0)
            assert says("load: tiny, 1,792 neurons")
            shown.begin("collect", 120)
            shown.advance(30, "3 of 12 shards")
            assert says("collect: 25 %, 30 of 120, 3 of 12 shards")
            time.sleep(0.01)
            shown.advance(60, "6 of 12 shards")
            assert says(r"collect: 50 %, \d+ s left, 60 of 120, 6 of 12 shards")
            _internal_kv_put(KEY, b"not what is expected", namespace=RECORDS)
            shown.begin("reduce", 4)
            shown.advance(1, "layers")
            store("RUNNING")
            assert says("reduce: 25 %, 1 of 4, layers"), "what went wrong costs no later message"
    finally:
        _internal_kv_del(KEY, namespace=RECORDS)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_scorer_whose_name_is_still_taken_gets_a_number() -> None:
    actors = [_start_actor("mine/scorer-0", None, num_cpus=0) for _ in range(3)]
    try:
        assert {"mine/scorer-0", "mine/scorer-0 (2)", "mine/scorer-0 (3)"} <= set(list_named_actors())
    finally:
        for actor in actors:
            ray.kill(actor)
