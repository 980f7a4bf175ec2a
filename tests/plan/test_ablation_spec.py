"""What is asked of an ablation: the same request has the same ID, and bad ones are refused."""

import pytest

from skilljobs.errors import InputError
from skilljobs.plan.ablation_spec import AblationSpec, Rule


def test_the_same_request_has_the_same_id_however_it_is_written() -> None:
    one = AblationSpec(metric="m", k="10, 1,10")
    assert one.id_in("run") == AblationSpec.from_values({"metric": "m", "k": [1, 10]}).id_in("run")
    assert one.id_in("run") != one.id_in("another run")
    assert one.id_in("run") != AblationSpec(metric="m", k="1,10", seed=1).id_in("run")
    listed = AblationSpec(neuron=("1/2", "0/3"))
    assert listed.id_in("run") == AblationSpec(neuron=("0/3", "1/2", "1/2"), k="7").id_in("run")
    assert AblationSpec.from_json(listed.as_json()).id_in("run") == listed.id_in("run")


def test_the_words_of_a_command_give_the_same_request() -> None:
    spec = AblationSpec(metric="m", population="within:a b", k="1,5", how="scale:2", draws=199)
    assert spec.options() == [
        "--metric", "m", "--population", "within:a b", "--k", "1,5", "--how", "scale:2", "--draws", "199"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ("mean", Rule(0.0, 0.0, "mean")),
        ("resample", Rule(0.0, 0.0, "resample")),
        ("zero", Rule(0.0, 0.0)),
        ("scale:-1.5", Rule(-1.5, 0.0)),
        ("set:2", Rule(0.0, 2.0)),
    ],
)
def test_what_activations_become(how: str, rule: Rule) -> None:
    assert AblationSpec(metric="m", how=how).rule == rule


@pytest.mark.parametrize("how", ["", "scale", "scale:", "scale:x", "set:inf", "mean:1", "median"])
def test_other_ways_are_refused(how: str) -> None:
    with pytest.raises(InputError, match="--how"):
        AblationSpec(metric="m", how=how)


@pytest.mark.parametrize("draws", [0, 1])
def test_too_few_draws_are_refused(draws: int) -> None:
    with pytest.raises(InputError, match="--draws"):
        AblationSpec(metric="m", draws=draws)
