"""What decides when tuning stops is a sample of the validation examples."""

from collections import Counter
from pathlib import Path

from skilljobs.plan.job_plan import plan_job
from skilljobs.plan.work import VALIDATION_EXAMPLES
from skilljobs.spec import JobSpec
from skilljobs.worker.prompt_tuner import draw_validation


def test_validation_is_a_sample_and_not_the_first_rows() -> None:
    """The file begins with additions."""
    validation = plan_job(JobSpec(task="arithmetic")).validation
    first = Counter(str(example.metrics["operation"]) for example in validation[:VALIDATION_EXAMPLES])
    drawn = draw_validation(validation)
    shares = Counter(str(example.metrics["operation"]) for example in drawn)
    assert set(first) == {"addition"}, "otherwise this test shows nothing"
    assert len(drawn) == VALIDATION_EXAMPLES
    whole = Counter(str(example.metrics["operation"]) for example in validation)
    for operation, count in whole.items():
        expected = VALIDATION_EXAMPLES * count / len(validation)
        assert abs(shares[operation] - expected) < 4 * expected**0.5, shares


def test_the_sample_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    validation = plan_job(JobSpec(task="arithmetic")).validation
    assert draw_validation(validation[::-1]) == draw_validation(validation)
