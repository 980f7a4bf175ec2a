"""What a machine says that it does not see."""

import json
import shutil
from pathlib import Path

import pytest

from skilljobs.checkpoints.source import find_model
from skilljobs.plan.landmarks import Landmarks


@pytest.fixture
def landmarks(tmp_path: Path, small_llama: Path) -> Landmarks:
    model = shutil.copytree(small_llama, tmp_path / "model")
    (tmp_path / "run").mkdir()
    record = {"created": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    return Landmarks.of(str(tmp_path / "run"), record["created"], find_model(str(model)))


def test_who_sees_all_says_nothing(landmarks: Landmarks) -> None:
    assert landmarks.missing() is None


def test_a_run_that_is_not_there_or_another(landmarks: Landmarks, tmp_path: Path) -> None:
    record = tmp_path / "run" / "run.json"
    record.write_text(json.dumps({"created": "2025-01-01T00:00:00+00:00"}))
    assert "sees another run in the run's directory" in str(landmarks.missing())
    record.unlink()
    assert f"does not see the run's directory {tmp_path / 'run'}: --out must be" in str(landmarks.missing())


def test_a_model_that_is_not_there_or_another(landmarks: Landmarks, tmp_path: Path) -> None:
    weights = next((tmp_path / "model").glob("*.safetensors"))
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert f"sees another --model {tmp_path / 'model'}: its files differ" in str(landmarks.missing())
    shutil.rmtree(tmp_path / "model")
    assert f"does not see --model {tmp_path / 'model'}" in str(landmarks.missing())
