"""The stages of a job, in order. A new stage is a file of its own and a line here."""

from skilljobs.pipeline.collect_stage import Collect
from skilljobs.pipeline.prepare_stage import Prepare
from skilljobs.pipeline.prompt_mean_stage import PromptMean
from skilljobs.pipeline.reduce_stage import Reduce
from skilljobs.pipeline.reference_stage import Reference
from skilljobs.pipeline.report_stage import Report
from skilljobs.pipeline.stage import Stage
from skilljobs.pipeline.trace_stage import Trace
from skilljobs.pipeline.tune_stage import Tune

STAGES: tuple[Stage, ...] = (Prepare(), Tune(), Reference(), Collect(), Reduce(), Trace(), Report())
"""Of a run with one soft prompt."""
STAGES_OVER_PROMPTS: tuple[Stage, ...] = (PromptMean(), Report())
"""Of a run with several soft prompts, after all stages of each prompt's own run."""


def required(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Those of `stages` without which a run is incomplete."""
    return tuple(stage for stage in stages if stage.is_required)


def names_of(stages: tuple[Stage, ...]) -> tuple[str, ...]:
    """The names of `stages`, in order."""
    return tuple(stage.name for stage in stages)
