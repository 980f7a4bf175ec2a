"""The job that reads matched examples as a run did: the same task, texts and soft prompt on other data."""

from dataclasses import replace

from skilljobs.errors import InputError
from skilljobs.plan.data_options import make_task
from skilljobs.plan.job_plan import JobPlan, plan_job
from skilljobs.plan.prompt_format import ChatReader
from skilljobs.spec import JobSpec
from skilljobs.store.reader import RunReader
from skilljobs.tasks.text_task import TextTask


def plan_matched(run: RunReader, data: str, limit: int, read_chat: ChatReader) -> JobPlan:
    """The plan of reading the file `data` in the task and with the soft prompt of `run`, up to `limit` examples a half.

    Only the scores and the activations of single neurons matter, so that it sums as little as it can.

    Raises:
        InputError: the file cannot be read, or has examples of one half only; or the run's texts hold what other data
            cannot: worked examples, or what a model wrote for it.
    """
    spec = run.record.job_spec
    if spec.few_shot:
        raise InputError("--data: the run's texts begin with worked examples of its own data (--few-shot)")
    task = make_task(replace(spec, data=data))
    if isinstance(task, TextTask) and (task.options.generate or task.options.grader is not None):
        raise InputError("--data: the run's texts were written or graded for it, and others cannot be matched to them")
    plan = plan_job(
        JobSpec.from_json(
            {
                **spec.as_json(),
                "data": data,
                "limit": 2 * limit,
                "metric": ("confidence",),
                "by": (),
                "null": 0,
                "prompts": 1,
                "soft_prompt": run.uri if spec.soft_prompt != "none" else "none",
                "statistic": "r",
                "until_ci": None,
                "like": None,
                "metrics_from": None,
                "shard_size": None,
            }
        ),
        None,
        read_chat,
    )
    if not all(plan.halves):
        raise InputError(f"--data {data}: its examples are all of one half, and both are needed")
    return plan
