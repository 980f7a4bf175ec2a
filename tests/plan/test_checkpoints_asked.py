"""The models of a series: which they are, in which order."""

import os
from pathlib import Path

import pytest

from skilljobs.errors import InputError
from skilljobs.plan.checkpoints_asked import checkpoints_asked, in_order


def test_a_pattern_is_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for name in ("step-10000", "step-900", "step-2000", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-1.txt").touch()
    asked = checkpoints_asked([f"{tmp_path}/step-*"])
    assert [one.label for one in asked] == ["step-900", "step-2000", "step-10000"]
    assert in_order(sorted(one.model for one in asked)) == [one.model for one in asked]
    assert {one.family for one in asked} == {f"{tmp_path}/step-#"}, "with more checkpoints the series is the same one"
    given = checkpoints_asked([asked[2].model, asked[0].model])
    assert [one.label for one in given] == ["step-10000", "step-900"], "what is named one by one stays in its order"


def test_labels_tell_models_apart(tmp_path: Path) -> None:
    assert [one.label for one in checkpoints_asked(["a/model", "b/model"])] == ["a/model", "b/model"]
    revisions = checkpoints_asked(["a/model"], ["step1", "step2"])
    assert [(one.label, one.model, one.revision) for one in revisions] == [
        ("step1", "a/model", "step1"), ("step2", "a/model", "step2"),
    ]  # fmt: skip


def test_what_is_no_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    one = str(tmp_path / "one")
    for models, revisions, match in (
        ([one], [], "two models or more"),
        ([one, os.path.relpath(one)], [], "is named twice"),
        (["a/model"], ["x", "x"], "a/model x is named twice"),
        ([f"{tmp_path}/two-*"], [], "matches no directory"),
        (["a/b", "c/d"], ["x", "y"], "--revisions are those of one model"),
        ([one], ["x", "y"], "--revisions are those of one model"),
        (["tiny"], ["x", "y"], "--revisions are those of one model"),
    ):
        with pytest.raises(InputError, match=match):
            checkpoints_asked(models, revisions)
