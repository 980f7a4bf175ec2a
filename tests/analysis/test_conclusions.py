"""What a run says of itself is what its files hold, and what may mislead in it is named."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import skilljobs
from skilljobs.analysis.conclusions import _tuned, above_null, conclusions, count_above, learned
from skilljobs.analysis.model_answers import _of_more, _of_two, majority, one_answer
from skilljobs.analysis.null_thresholds import NoThreshold, NullThreshold, NullThresholds
from skilljobs.cli.main import cli
from skilljobs.cli.printed_summary import print_summary
from skilljobs.progress.reporter import SilentReporter
from skilljobs.reduce.shard_sums import read_moments
from skilljobs.spec import JobSpec
from skilljobs.stats.totals import Moments
from skilljobs.store.files import Folder
from skilljobs.store.reader import RunReader
from skilljobs.store.record import Accuracy, ExampleCounts
from skilljobs.store.run import NULL_MAXIMA_NAME, RunFiles
from tests.store.test_record import record
from tests.tables import WORDS, write_jsonl

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


@pytest.fixture(scope="module")
def run(ray_here: object, tmp_path_factory: pytest.TempPathFactory, small_llama: Path) -> skilljobs.Run:
    """A table of two classes, a category that covers all rows, one that does not, noise, and a rare metric."""
    folder, rng, rows = tmp_path_factory.mktemp("conclusions"), random.Random(0), []
    for number in range(400):
        words = [rng.choice(WORDS) for _ in range(rng.randint(2, 12))]
        rows.append(
            {"text": " ".join(words) + ":", "choices": [" good", " bad"], "answer": rng.randrange(2)}
            | {"words": len(words)}
            | {"twice": 2 * len(words) + number % 2, "kind": rng.choice("ab"), "some": rng.choice(["x", "y", None])}
            | {"noise": rng.gauss(0, 1), "level": rng.gauss(0, 1) if number % 3 else None, "rare": number % 200 == 5}
            | {"split": "test" if number < 300 else "train" if number < 380 else "validation"}
        )  # fmt: skip
    data = write_jsonl(folder / "table.jsonl", rows)
    return skilljobs.submit(data=str(data), model=str(small_llama), soft_prompt="random", prompt_length=3,
                            by=("kind", "some"), null=19, out=str(folder), shard_size=40, reporter=SilentReporter(),
                            report=False, keep_null=True)  # fmt: skip


def threshold_of(
    run: skilljobs.Run, metric: str, population: str = "all", given: tuple[str, ...] = ()
) -> NullThreshold:
    found = NullThresholds(run).of(metric, population, given)
    assert isinstance(found, NullThreshold)
    return found


def test_the_right_answer_is_correlated(run: skilljobs.Run) -> None:
    examples = run.examples().collect()
    metrics = [metric.name for metric in run.layout().metrics if metric.column == "answer"]
    assert metrics == ["answer=bad", "answer=good"]
    good, bad = (run.top(name, k=48).sort("layer", "neuron") for name in ("answer=good", "answer=bad"))
    np.testing.assert_allclose(good["r"], -bad["r"], atol=1e-9)
    assert (most := majority(run)) is not None
    assert most.share == examples["answer"].value_counts()["count"].max() / len(examples)  # type: ignore[operator]


def test_what_is_counted_above_the_null_is_what_the_files_hold(run: skilljobs.Run) -> None:
    for metric, population in (("words", "all"), ("words", "within:kind"), ("noise", "all")):
        threshold = threshold_of(run, metric, population)
        rows = run.correlations().filter(metric=metric, population=population).collect()
        assert threshold.half0 is not None
        assert threshold.half1 is not None
        assert threshold.r < min(threshold.half0, threshold.half1), "halves have fewer examples"
        found = rows.filter(pl.col("r_half0").abs() > threshold.half0)
        hold = found.filter(
            pl.col("r_half1").abs() > threshold.half1, pl.col("r_half1").sign() == pl.col("r_half0").sign()
        )
        counts = count_above(run, metric, population, threshold)
        assert (counts.neurons, counts.above) == (48, (rows["r"].abs() > threshold.r).sum())
        assert (counts.on_half0, counts.hold) == (len(found), len(hold))
    assert "0 of 48 neurons are above the null threshold" in above_null(run, "noise", "all", NullThresholds(run))


def test_thresholds_within_groups_and_given_metrics(run: skilljobs.Run) -> None:
    """Partial correlations have a closed form: compared with that of the null metrics' own r with each neuron."""
    plain = threshold_of(run, "words")
    assert not threshold_of(run, "words", "within:kind").is_approximate
    n = {population: run.top("words", 1, population)["n"].item() for population in ("all", "kind=a", "within:some")}
    of_a = threshold_of(run, "words", "kind=a")
    assert of_a.is_approximate
    assert of_a.r == pytest.approx(plain.r * np.sqrt((n["all"] - 2) / (n["kind=a"] - 2)))
    of_some = threshold_of(run, "words", "within:some")
    assert of_some.is_approximate, "some rows are in no group, so that it is not known exactly"
    assert of_some.r == pytest.approx(plain.r * np.sqrt((n["all"] - 2) / (n["within:some"] - 3)))
    assert threshold_of(run, "level").is_approximate
    given = threshold_of(run, "noise", given=("words",))
    moments = NullThresholds(run).moments
    words = run.correlations().filter(metric="words", population="all").collect()["r"].to_numpy()
    maxima = []
    for null in (f"null:{k}" for k in range(19)):
        r = run.correlations().filter(metric=null, population="all").collect()["r"].to_numpy()
        between = moments.r("all", "words", null)
        assert between is not None
        maxima.append(np.nanmax(np.abs((r - between * words) / np.sqrt((1 - between**2) * (1 - words**2)))))
    assert given.r == pytest.approx(max(maxima))
    assert not given.is_approximate
    assert threshold_of(run, "words", "within:kind", ("noise",)).is_approximate


def test_an_older_run_says_why_there_is_no_threshold(
    run: skilljobs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = skilljobs.open_run(str(shutil.copytree(run.uri, tmp_path / "old")))
    (tmp_path / "old" / NULL_MAXIMA_NAME).unlink()

    def without(folder: Folder, shards: Sequence[int]) -> Moments:
        moments = read_moments(folder, shards)
        assert moments is not None
        pairs = {key: row for key, row in moments.index.items() if not key[2].startswith("null") or key[1] == key[2]}
        return Moments({k: row for k, row in pairs.items() if k[0] == "all" or k[1] < "null"}, moments.n, moments.sums)

    monkeypatch.setattr("skilljobs.analysis.null_thresholds.read_moments", without)
    assert threshold_of(old, "words") == threshold_of(run, "words")
    for population, given in (("within:kind", ()), ("all", ("noise",))):
        found = NullThresholds(old).of("words", population, given)
        assert isinstance(found, NoThreshold)
        assert "older skilljobs" in found.reason
    assert "no null threshold: the run was made by an older" in above_null(
        old, "words", "within:kind", NullThresholds(old)
    )


def test_top_marks_what_is_below_the_null_and_names_what_misleads(run: skilljobs.Run) -> None:
    def top(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["top", run.uri, *arguments], catch_exceptions=False).output

    noise = top("--metric", "noise", "-k", "3")
    assert noise.startswith("noise, all: 0 of 48 neurons are above the null threshold")
    assert noise.count(" below ") == 3
    assert "below" not in top("--metric", "words", "-k", "1")
    assert "words and twice are nearly the same metric" in top("--metric", "twice", "-k", "1")
    assert "words and twice" not in noise
    rare = top("--metric", "rare", "--population", "within:kind", "-k", "1")
    assert "rare: only " in rare
    assert "differ from the others of their group" in rare
    assert "0 of" not in top("--metric", "noise", "-k", "2", "--format", "csv")
    rows = json.loads(top("--metric", "noise", "-k", "2", "--format", "json"))
    assert list(rows[0]) == run.top("noise", k=1).columns
    given = top("--metric", "words", "--given", "noise", "-k", "2")
    assert given.startswith("words, all, given noise: ")
    assert "approximate" in top("--metric", "words", "--population", "kind=a", "-k", "2")


def test_the_summary_begins_with_the_conclusions(run: skilljobs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(run)
    printed = capsys.readouterr().out.splitlines()
    sentences = conclusions(run, ["confidence"])
    assert printed[: len(sentences)] == sentences
    assert sentences[0].startswith("the prompt was not tuned in this run; accuracy on test is 0.")
    assert any(sentence.startswith("accuracy by kind: ") for sentence in sentences)
    assert any(sentence.startswith("confidence, within:kind: ") for sentence in sentences)
    assert any(sentence.startswith("rare is yes for only 2 of 300") for sentence in sentences)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(0.5, 0.9, "the prompt learned"), (0.5, 0.55, "did not clearly learn"), (0.9, 0.4, "made the model worse")],
)
def test_whether_a_prompt_learned_is_told_only_beyond_chance(
    run: skilljobs.Run, tmp_path: Path, before: float, after: float, said: str
) -> None:
    shutil.copytree(run.uri, tmp_path / "tuned")
    path = tmp_path / "tuned" / "run.json"
    record = json.loads(path.read_text())
    record["accuracy"] |= {"before": before, "after": after}
    record["spec"]["soft_prompt"] = None
    path.write_text(json.dumps(record))
    assert said in learned(skilljobs.open_run(str(tmp_path / "tuned")))[0]


def test_one_answer_is_recognised_from_the_scores() -> None:
    always_a = Counter({("a", True): 60, ("b", False): 37, ("b", True): 3})
    found = _of_two(always_a, ["a", "b"])
    assert found is not None
    assert found[0] == "a"
    assert "97.0% of the test examples (60.0% have that answer)" in found[1]
    always_b = Counter({(name, not is_correct): count for (name, is_correct), count in always_a.items()})
    assert (_of_two(always_b, ["a", "b"]) or ("",))[0] == "b"
    able = Counter({("a", True): 60, ("b", True): 40})
    assert _of_two(able, ["a", "b"]) is _of_more(able) is None
    more = Counter({("a", True): 60, ("b", False): 40, ("c", False): 3})
    assert (_of_more(more) or ("",))[0] == "a"
    never = Counter({("a", False): 60, ("b", False): 40, ("c", False): 3})
    assert _of_more(never) is None, "a model that is always wrong does not give one answer"
    assert _of_two(Counter(), ["a", "b"]) is _of_more(Counter()) is None


def test_a_run_of_one_answer_is_told_and_how_to_hold_it_fixed(run: skilljobs.Run, tmp_path: Path) -> None:
    """The scores are made those of a model that always answers good."""
    one = skilljobs.open_run(str(shutil.copytree(run.uri, tmp_path / "one")))
    answers = dict(run.examples().select("example_id", "answer").collect().iter_rows())
    for path in (tmp_path / "one" / "shards").glob("scores-*.parquet"):
        scores = pl.read_parquet(path)
        scores.with_columns(correct=pl.Series([answers[name] == 0 for name in scores["example_id"]])).write_parquet(
            path
        )
    (sentence,) = one_answer(one)
    assert sentence.startswith("the model answers good for 100.0% of the test examples")
    assert "`top --given answer=good`" in sentence


def test_accuracy_is_of_the_validation_examples_that_were_drawn(tmp_path: Path) -> None:
    """Of 857, at most 128 are scored: a difference is no surer than these make it."""
    spec = JobSpec(task="arithmetic").as_json()
    counts = ExampleCounts(train=4038, validation=857, test=8)
    accuracy = Accuracy(before=0.70, after=0.75, test=0.7)
    RunFiles(str(tmp_path)).save(record().model_copy(update={"spec": spec, "examples": counts, "accuracy": accuracy}))
    sentence = _tuned(RunReader(str(tmp_path)), "the prompt")
    assert sentence == (
        "the prompt did not clearly learn: accuracy on 128 validation examples went from 0.700 to 0.750, no more than"
        " chance may do"
    )
