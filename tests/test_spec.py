import shlex

import pytest

from skilljobs.cli.submit import submit
from skilljobs.spec import JobSpec

SPECS = [
    JobSpec(task="arithmetic"),
    JobSpec(data="my table.jsonl", model="m", metric=("a b", "c=d"), by=("x",), null=0, text_column="input"),
    JobSpec(task="hans", label_words=("yes", "no"), hide_choices=True, learning_rate=0.5, template="{premise}\n-"),
]


@pytest.mark.parametrize("spec", SPECS)
def test_the_command_of_a_spec_makes_it_again(spec: JobSpec) -> None:
    program, name, *words = shlex.split(spec.command)
    assert (program, name) == ("skilljobs", "submit")
    said = submit.make_context("submit", words).params
    others = ("out", "run_id", "replicas", "gpus_per_replica", "address", "no_wait", "report", "debug")
    assert JobSpec(**{field: value for field, value in said.items() if field not in others}) == spec


def test_a_record_gives_its_spec_again() -> None:
    for spec in SPECS:
        assert JobSpec.from_json(spec.as_json()) == spec


def test_only_what_differs_from_the_defaults_names_a_run() -> None:
    assert len({spec.digest for spec in SPECS}) == len(SPECS)
    assert JobSpec(task="arithmetic", seed=0).digest == SPECS[0].digest
