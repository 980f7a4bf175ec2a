"""A job as it was asked for: its options checked one by one, and where its run is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from skilljobs.pipeline.opening import default_run_id
from skilljobs.plan.call_arguments import checked_run_id
from skilljobs.plan.data_options import command_of, resolve_spec
from skilljobs.plan.like_run import spec_like
from skilljobs.spec import JobSpec
from skilljobs.store.run_list import locate_run
from skilljobs.uris import child_uri


@dataclass(frozen=True)
class AskedJob:
    """A job, before its data and its model are looked at."""

    spec: JobSpec
    run_id: str
    out: str
    """The folder that its run is in."""

    @classmethod
    def of(cls, options: Mapping[str, Any], out: str, run_id: str | None = None) -> "AskedJob":
        """The job that `options` ask for, by the names of `skilljobs.submit`.

        Raises:
            InputError: an option does not exist, has a bad value, or is not for the task.
        """
        spec = JobSpec.from_values(options)
        if spec.like is not None:
            spec = spec_like(replace(spec, like=locate_run(spec.like, out)))
        spec, task = resolve_spec(spec)
        spec = spec.with_absolute_paths(task.own_options())
        return cls(spec, default_run_id(spec) if run_id is None else checked_run_id(run_id), out)

    @property
    def uri(self) -> str:
        """The directory of its run."""
        return child_uri(self.out, self.run_id)

    @property
    def command(self) -> str:
        """The command that submits it."""
        return command_of(self.spec)
