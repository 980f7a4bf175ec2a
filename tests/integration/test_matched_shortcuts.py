"""Looking for shortcuts among what all examples of a run have, beside matched examples of `--data`."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import skilljobs
from skilljobs.cli.main import main
from skilljobs.errors import InputError
from skilljobs.store.run import RunFiles
from skilljobs.store.shortcut_files import damaged_shortcuts
from tests.integration.test_shortcuts import CHOICES, search, submit
from tests.models import PLANTED_WORD, save_planted
from tests.tables import choice_rows, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]

NAMES_IT = "the text names a house"
ROWS = choice_rows(900, PLANTED_WORD, CHOICES)
ALL_HAVE_IT = ROWS[::2]


def matched_rows(with_it: int, without: int) -> list[dict[str, Any]]:
    rows = choice_rows(900, PLANTED_WORD, CHOICES, seed=1)
    chosen = [*rows[0::2][:with_it], *rows[1::2][:without]]
    return [row | {"example_id": f"other-{number}"} for number, row in enumerate(chosen)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A property that every example of the run has."""
    file = tmp_path_factory.mktemp("properties") / "own.py"
    file.write_text(
        f'def names_it(example):\n    """{NAMES_IT}"""\n    return {PLANTED_WORD!r} in example.text\n', encoding="utf-8"
    )
    return f"{file}:names_it"


@pytest.fixture(scope="module")
def deciding(ray_here: object, tmp_path_factory: pytest.TempPathFactory) -> skilljobs.Run:
    """A run of a model whose answer one neuron decides, on examples in all of which it fires."""
    folder = tmp_path_factory.mktemp("deciding")
    return submit(save_planted(folder / "model", writes=1.0), folder / "runs", rows=ALL_HAVE_IT)


def of_property(rows: pl.DataFrame) -> dict[str, Any]:
    return rows.filter(property=NAMES_IT).row(0, named=True)


def test_what_all_examples_have_is_undecided_without_others(
    deciding: skilljobs.Run, own: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = of_property(search(deciding, property=own))
    assert (row["verdict"], row["r_half1"], row["n_without"]) == ("undecided", None, 0)
    assert "--data FILE" in row["reason"]
    assert row["seen_half1"], "the neuron was listed by hand"
    with pytest.raises(SystemExit):
        main(["shortcuts", deciding.uri, "--neuron", "0/5", "--property", own, "--draws", "29", "--no-report"])
    assert f"Undecided: '{NAMES_IT}'" in capsys.readouterr().out


@pytest.mark.parametrize(("with_it", "said"), [(300, "among the examples of"), (0, "beside the examples of")])
def test_matched_examples_show_that_it_is_a_shortcut(
    deciding: skilljobs.Run, own: str, tmp_path: Path, with_it: int, said: str
) -> None:
    """Beside examples without it, the mean of the run would be no change: all of its examples have the property."""
    data = str(write_jsonl(tmp_path / "matched.jsonl", matched_rows(with_it, 300)))
    rows = search(deciding, property=own, data=data)
    row = of_property(rows)
    assert (row["verdict"], row["points_to"], row["compared_with"]) == ("shortcut", "banana", data), row["reason"]
    assert row["reason"].startswith(said)
    assert row["fall_p"] <= 0.05
    assert rows.filter(pl.col("compared_with").is_not_null())["property"].unique().to_list() == [NAMES_IT]
    assert damaged_shortcuts(RunFiles(deciding.uri)) == []
    assert all(name.startswith("matched:") for name in row["examples_against"])
    assert search(deciding, property=own, data=data).equals(rows), "nothing is left to do"
    inside = Path(deciding.uri, "shortcuts", row["shortcuts"], "matched")
    shard = next(inside.glob(f"shortcuts/{row['shortcuts']}/matched-*-controls/shards/*.parquet"))
    shard.unlink()
    assert damaged_shortcuts(RunFiles(deciding.uri)) == [str(shard.relative_to(deciding.uri))]
    assert search(deciding, property=own, data=data).equals(rows)
    assert shard.exists()


def test_a_neuron_that_writes_nothing_follows_it_and_is_a_correlate(own: str, tmp_path: Path) -> None:
    run = submit(save_planted(tmp_path / "model", writes=0.0), tmp_path / "runs", rows=ALL_HAVE_IT, limit=120)
    data = str(write_jsonl(tmp_path / "matched.jsonl", matched_rows(0, 300)))
    row = of_property(search(run, property=own, data=data))
    assert row["verdict"] == "correlate", row["reason"]
    assert abs(row["r_half1"]) > 0.9, "the neuron does follow it"


def test_data_that_cannot_help_are_refused(deciding: skilljobs.Run, own: str, tmp_path: Path) -> None:
    having = str(write_jsonl(tmp_path / "having.jsonl", matched_rows(300, 0)))
    useful = str(write_jsonl(tmp_path / "useful.jsonl", matched_rows(0, 300)))
    for options, reason in (
        ({"data": str(tmp_path / "absent.jsonl"), "property": own}, "there is no file"),
        ({"data": having, "property": own}, f"have what those of the run have: '{NAMES_IT}'"),
        ({"data": useful}, "no property holds for nearly every example"),
        ({"data": useful, "property": own, "how": "resample"}, "resample"),
    ):
        with pytest.raises(InputError, match=reason):
            search(deciding, **options)
