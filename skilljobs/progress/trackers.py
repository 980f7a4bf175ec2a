"""Experiment trackers, each through its own library, which is imported when it is used: trackio, wandb, mlflow."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib.util import find_spec
from typing import Any, Protocol

from skilljobs.errors import InputError
from skilljobs.suggestions import did_you_mean

PROJECT = "skilljobs"
"""The project or experiment that runs are in, unless the tracker's own environment variable names another."""
_NOT_IN_MLFLOW = re.compile(r"[^\w./ -]", re.ASCII)


class Tracker(Protocol):
    """One run in a tracker."""

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """Record values, at a step of tuning if there is one."""

    def finish(self, failed: bool) -> None:
        """The run is over."""


class Trackio:
    """A run in trackio."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        import trackio

        project = os.environ.get("TRACKIO_PROJECT") or PROJECT
        self._run = trackio.init(project=project, name=name, config=dict(config), embed=False)

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def finish(self, failed: bool) -> None:
        """See `Tracker`."""
        self._run.finish()


class Wandb:
    """A run in Weights & Biases, beside any other of this process."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        import wandb

        project = os.environ.get("WANDB_PROJECT") or PROJECT
        self._run = wandb.init(project=project, name=name, config=dict(config), reinit="create_new")
        self._groups: set[str] = set()

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """See `Tracker`. A step is a value of its own: wandb drops what comes with a smaller step than before."""
        if step is None:
            self._run.log(dict(values))
            return
        groups = {name.rpartition("/")[0] for name in values}
        for group in groups - self._groups:
            self._run.define_metric(f"{group}/step")
            self._run.define_metric(f"{group}/*", step_metric=f"{group}/step")
        self._groups |= groups
        self._run.log({**values, **{f"{group}/step": step for group in groups}})

    def finish(self, failed: bool) -> None:
        """See `Tracker`."""
        self._run.finish(exit_code=int(failed))


class MLflow:
    """A run in MLflow, which leaves the active run of this process alone."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        experiment_name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        experiment = self._client.get_experiment_by_name(experiment_name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(experiment_name)
        self._id = self._client.create_run(number, run_name=name).info.run_id
        for option, value in config.items():
            self._client.log_param(self._id, option, value)
        self._names: dict[str, str] = {}

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """See `Tracker`. Names may hold fewer characters in MLflow than here."""
        for name, value in values.items():
            self._client.log_metric(self._id, self._allowed(name), value, step=step or 0)

    def finish(self, failed: bool) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")

    def _allowed(self, name: str) -> str:
        """A name that MLflow takes, of no other value."""
        if name not in self._names:
            allowed = plain = _NOT_IN_MLFLOW.sub("_", name)
            number = 1
            while allowed in self._names.values():
                number += 1
                allowed = f"{plain} {number}"
            self._names[name] = allowed
        return self._names[name]


TRACKERS: dict[str, Callable[[str, Mapping[str, Any]], Tracker]] = {
    "trackio": Trackio,
    "wandb": Wandb,
    "mlflow": MLflow,
}
"""By the name of the tracker, which is also that of its module and of the extra."""


def check_tracker(name: object, is_needed_here: bool) -> None:
    """Refuse a tracker that is not known or, if it `is_needed_here`, not installed.

    Raises:
        InputError: names it, and how it is installed.
    """
    if not isinstance(name, str) or name not in TRACKERS:
        guess = did_you_mean(name, TRACKERS) if isinstance(name, str) else ""
        raise InputError(f"--track {name!r}: there is no such tracker{guess}; it may be {', '.join(TRACKERS)}")
    if is_needed_here and find_spec(name) is None:
        raise InputError(f"--track {name} needs the package {name}: pip install 'skilljobs[{name}]'")


def begin(name: str, run_id: str, config: Mapping[str, Any]) -> Tracker:
    """Begin a run in the tracker `name`. What it prints goes to standard error.

    Raises:
        InputError: it cannot be begun; gives the tracker's reason.
    """
    try:
        with redirect_stdout(sys.stderr):
            return TRACKERS[name](run_id, config)
    except Exception as error:  # each library has errors of its own
        raise InputError(f"--track {name}: it could not begin: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """The first line of what an error says, with its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
