from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from skilljobs.errors import InputError
from skilljobs.plan.reading import read_examples
from skilljobs.tasks.base import Example
from skilljobs.tasks.hans import Hans, HansOptions
from skilljobs.tasks.hans_pairs import HANS_LIKE, hans_like_pairs
from skilljobs.tasks.nli import Pair, read_pairs
from tests.conftest import SHARED_DATA

RELEASED = SHARED_DATA / "hans" / "hans_regenerated_eval.txt.gz"
TRAINING = {
    SHARED_DATA / "conjnli" / "adversarial_train_15k.tsv.gz": 15_000,
    SHARED_DATA / "med" / "MED.tsv.gz": 5_382,
    SHARED_DATA / "nli_wiki" / "base_wiki.train.jsonl.gz": 2_740,
    SHARED_DATA / "hans" / "hans_regenerated_train.txt.gz": 30_000,
}


def read(**options: Any) -> list[Example]:
    examples, bad = read_examples(Hans(HansOptions(**options)), 0.0)
    assert not bad
    return examples


def test_it_starts_with_neither_data_nor_training_pairs() -> None:
    found = read()
    tested = [e for e in found if e.split == "test"]
    heuristics = Counter((e.metrics["heuristic"], e.metrics["label"]) for e in tested)
    assert set(heuristics) == set(HANS_LIKE)
    assert len({e.unit for e in tested}) == sum(len(t) for s in HANS_LIKE.values() for t in s.values())
    trained = Counter(e.answer for e in found if e.split == "train")
    assert trained[1] / trained[0] == pytest.approx(2, abs=0.3)
    assert read() == found
    assert [e.text for e in read(seed=1)] != [e.text for e in found]


def test_in_every_generated_pair_all_words_of_the_hypothesis_stand_in_the_premise() -> None:
    for row in hans_like_pairs(seed=3):
        premise, hypothesis = (row[name].lower().replace(",", "").rstrip(".") for name in ("sentence1", "sentence2"))
        assert set(hypothesis.split()) <= set(premise.split())
        if row["heuristic"] != "lexical_overlap":
            assert f" {hypothesis.removeprefix('the ')} " in f" {premise} " or row["subcase"].endswith(
                ("_conjunction", "_preposition", "adjective")
            )


def test_the_text_and_its_choices() -> None:
    row = {
        "gold_label": "non-entailment", "sentence1": "The actor , who slept , ran .", "sentence2": "The actor ran .",
        "pairID": "ex7", "heuristic": "subsequence", "subcase": "sn_x", "template": "temp9",
    }  # fmt: skip
    example = Hans().example(row, 1)
    assert example.text == (
        "Premise: The actor, who slept, ran.\nHypothesis: The actor ran.\nIs it entailment or non-entailment?\nAnswer:"
    )
    assert (example.choices, example.answer) == ((" entailment", " non-entailment"), 1)
    assert (example.unit, example.example_id) == ("temp9", "ex7")
    assert example.metrics == {"heuristic": "subsequence", "label": "non-entailment", "subcase": "sn_x"}
    worded = Hans(HansOptions(label_words=("yes", "no"), template="{premise} So {hypothesis}?")).example(row, 1)
    assert (worded.text, worded.choices) == ("The actor, who slept, ran. So The actor ran.?", (" yes", " no"))


@pytest.mark.parametrize(("label", "index"), [
    ("entailment", 0), ("neutral", 1), ("contradiction", 1), ("e", 0), ("n", 1), ("c", 1), (0, 0), (1, 1), (2, 1),
])  # fmt: skip
def test_three_classes_become_two(label: object, index: int) -> None:
    assert Pair.of({"premise": "a", "hypothesis": "b", "label": label}).label == index


def test_pairs_without_a_gold_label_are_passed_over_and_quotation_marks_are_text(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text('sentence1\tsentence2\tgold_label\na "b\tc\t-\nd "e\tf\tneutral\n')
    (row,) = read_pairs(path)
    assert Pair.of(row) == Pair('d "e', "f", 1)
    path.write_text("sentence1\tsentence2\tgold_label\na\tb\n")
    with pytest.raises(InputError, match="line 2 has 2 columns"):
        list(read_pairs(path))
    with pytest.raises(ValueError, match="'maybe'"):
        Pair.of({"premise": "a", "hypothesis": "b", "label": "maybe"})


def test_a_data_set_of_the_hub(tmp_path: Path) -> None:
    """A folder stands for the hub's id: the library reads both alike."""
    rows = [
        {"premise": f"The {n} .", "hypothesis": "The .", "label": n % 2, "heuristic": "lexical_overlap",
         "subcase": "le_x", "template": f"temp{n}"} for n in range(8)
    ]  # fmt: skip
    (tmp_path / "set").mkdir()
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / "validation.parquet")
    tested = [e for e in read(data=Path(f"hub:{tmp_path / 'set'}")) if e.split == "test"]
    assert [e.answer for e in tested] == [0, 1] * 4
    with pytest.raises(InputError, match="no split 'dev'; it has validation"):
        read(data=Path(f"hub:{tmp_path / 'set'}:dev"))
    with pytest.raises(InputError, match="no data set 'nowhere/at-all'"):
        read(data=Path("hub:nowhere/at-all"))


@pytest.mark.data
@pytest.mark.parametrize(("training", "count"), TRAINING.items(), ids=lambda value: getattr(value, "name", ""))
def test_real_pairs(training: Path, count: int) -> None:
    if not training.exists():
        pytest.skip("the real data sets are not here")
    found = read(data=RELEASED, train_data=training)
    tested = [e for e in found if e.split == "test"]
    assert (len(tested), len(found)) == (30_000, 30_000 + count)
    assert Counter(e.metrics["label"] for e in tested) == {"entailment": 15_000, "non-entailment": 15_000}
    assert (len({e.unit for e in tested}), len({e.metrics["subcase"] for e in tested})) == (60, 30)
    assert {e.half for e in tested if e.metrics["heuristic"] == "constituent"} == {0, 1}
    assert {e.split for e in found[30_000:]} == {"train", "validation"}
