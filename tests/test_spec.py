"""What a user says about a job, as a command, as JSON, and as the name of a run."""

import shlex
from typing import Any

import pytest

from skilljobs.cli.option_params import given_options
from skilljobs.cli.submit import submit
from skilljobs.errors import InputError
from skilljobs.options import declared_options
from skilljobs.plan.data_options import command_of, resolve_spec
from skilljobs.spec import WITHOUT_EFFECT_ON_NUMBERS, JobSpec

SPECS = [
    JobSpec(task="arithmetic"),
    JobSpec.from_values(
        {"data": "my table.jsonl", "model": "m", "metric": ("a b", "c=d"), "by": ("x",), "null": 0, "text_column": "in"}
    ),
    JobSpec.from_values(
        {
            "task": "hans",
            "label_words": ("yes", "no"),
            "hide_choices": True,
            "learning_rate": 0.5,
            "template": "{premise}\n-",
        }
    ),
    JobSpec.from_values({"task": "skillmix", "view": "shown", "generate": True, "grader": "a:b"}),
]


@pytest.mark.parametrize("spec", SPECS)
def test_the_command_of_a_spec_makes_it_again(spec: JobSpec) -> None:
    program, name, *words = shlex.split(command_of(spec))
    assert (program, name) == ("skilljobs", "submit")
    context = submit.make_context("submit", words)
    assert JobSpec.from_values(given_options(context.params, context)) == spec


def test_a_record_gives_its_spec_again() -> None:
    for spec in SPECS:
        assert JobSpec.from_json(spec.as_json()) == spec


def test_only_what_differs_from_the_defaults_names_a_run() -> None:
    assert len({spec.digest for spec in SPECS}) == len(SPECS)
    assert JobSpec(task="arithmetic", seed=0).digest == SPECS[0].digest


def test_what_cannot_change_a_number_does_not_name_a_run() -> None:
    assert JobSpec(task="arithmetic", max_bad_rows=0.5, max_sums_gb=9, keep_null=True).digest == SPECS[0].digest
    assert {"max_bad_rows", "max_sums_gb", "keep_null"} == WITHOUT_EFFECT_ON_NUMBERS


def test_an_option_of_the_task_at_its_default_is_left_out() -> None:
    spec, _ = resolve_spec(JobSpec.from_values({"task": "skillmix", "model": "tiny", "view": None, "generate": False}))
    assert spec.own == {}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"limit": "40"}, "--limit is '40'; it takes a whole number"),
        ({"limit": True}, "--limit is True; it takes a whole number"),
        ({"tune_loss": "both"}, "--tune-loss is 'both'; it may be target or choices"),
        ({"null": -1}, "--null is -1; it must be at least 0"),
        ({"depth": 3}, "there is no option --depth"),
        ({"task": "skillmix", "model": "tiny", "view": "both"}, "--view is 'both'; it may be asked or shown"),
        ({"task": "hans", "model": "tiny", "label_words": ("a", "b", "c")}, "--label-words takes 2 values, and 3 were"),
        ({"view": "shown"}, "--view is not for the task arithmetic; it is an option of skillmix"),
    ],
)
def test_a_bad_value_is_refused_by_name(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        resolve_spec(JobSpec.from_values({"task": "arithmetic", **values}))


def test_every_option_has_a_line_of_help() -> None:
    for declared in declared_options(JobSpec):
        assert declared.text.help.endswith((".", ")")), declared.name
        assert len(declared.text.help) < 120, declared.name


def test_an_option_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InputError, match=r"--metric is .*; it holds a byte that is not UTF-8"):
        JobSpec(task="arithmetic", metric=("\udcff",))
