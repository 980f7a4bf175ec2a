from pathlib import Path

import pytest

from skilljobs.cli.main import main
from skilljobs.pipeline.diagnosis import examine


def test_a_model_that_fits(small_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--model", str(small_llama)])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for line in ("ok    cores", "ok    torch", "ok    neurons       48", "a shard of arithmetic: "):
        assert line in out
    assert "ERROR" not in out


def test_a_missing_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--model", str(tmp_path / "nowhere")])
    assert ended.value.code == 1
    assert "ERROR model" in capsys.readouterr().out


def test_a_model_larger_than_memory(small_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skilljobs.plan.capacity.total_memory", lambda: 10_000)
    (model,) = (finding for finding in examine(str(small_llama)) if finding.about == "model")
    assert (model.level, "the machine has 1e-05 GB" in model.text) == ("error", True)
