"""The strongest neurons of a finished run, with the places within its model where they are read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from skilljobs.analysis.ranking import top
from skilljobs.checkpoints.safetensors_header import prompt_length
from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError
from skilljobs.plan.finished_run import same_model
from skilljobs.selection import NEURONS
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import PROMPT_NAME
from skilljobs.store.shards import UNREADABLE

if TYPE_CHECKING:
    from skilljobs.lm.neuron_modules import NeuronModules

FROM_CORRELATIONS = ("metric", "population", "n", "r", "q", "r_half0", "r_half1")


@dataclass(frozen=True)
class ExportedNeurons:
    """Neurons of a run, and what must be known to read them with something else."""

    rows: pl.DataFrame
    """A row for each neuron, strongest first: layer, expert, neuron, token, module, index, first_position,
    last_position, and `FROM_CORRELATIONS`."""
    modules: "NeuronModules"
    source: ModelSource


def exported_neurons(run: RunReader, metric: str, population: str = ALL, k: int = 50) -> ExportedNeurons:
    """The `k` neurons of a run of largest |r| with `metric`, and where they are read.

    A neuron's activation is what enters `module`, a path within the model as transformers names its modules, at
    coordinate `index`; where there is an `expert`, it is what enters the down projection of that one of the module's
    experts. `first_position` and `last_position` bound the positions that are averaged, or are both the one that is
    read. They are counted from the end of text and soft prompt (-1 is the last); in a masked language model, whose soft
    prompt stands in front, from the beginning of the row.

    Raises:
        InputError: the run has no such metric, population or correlations, did not read neurons, or its model is not
            here or is another one.
    """
    record = run.record
    spec = record.job_spec
    if spec.units != NEURONS:
        raise InputError(
            f"the run {record.run_id} read {spec.units} (--units), and only neurons can be exported: a neuron is one"
            " coordinate of what enters a module; a norm, a probability or a feature is worked out of several"
        )
    if spec.trust_remote_code:
        raise InputError(
            f"the run {record.run_id} used Python code of its model (--trust-remote-code), and only that code, which an"
            " export does not run, names the model's modules"
        )
    ranked = top(run, metric, population, k)
    if ranked.is_empty():
        raise InputError(
            f"r with {metric!r} over {population!r} is undefined for every neuron: there is none to export"
        )
    source = same_model(record, trust_remote_code=False)
    from skilljobs.lm.neuron_modules import neuron_modules  # imports torch

    modules, length = neuron_modules(source, spec.ffn), _prompt_length(run)
    rows = []
    for row in ranked.iter_rows(named=True):
        first, last = _positions(row["token"], spec.tokens, length, len(modules.opening) if source.is_masked else None)
        rows.append(
            {
                **{name: row[name] for name in ("layer", "expert", "neuron", "token")},
                "module": (modules.dense if row["expert"] is None else modules.experts)[row["layer"]],
                "index": row["neuron"],
                "first_position": first,
                "last_position": last,
                **{name: row[name] for name in FROM_CORRELATIONS},
            }
        )
    types: dict[str, Any] = {name: kind for name, kind in ranked.schema.items() if name in rows[0]}
    whole = dict.fromkeys(("index", "first_position", "last_position"), pl.Int32)
    return ExportedNeurons(pl.DataFrame(rows, schema_overrides=types | whole), modules, source)


def _prompt_length(run: RunReader) -> int:
    """The number of vectors of the run's soft prompt, or of each if there are several."""
    folder = run.prompts()[0].folder
    try:
        return prompt_length(folder.read(PROMPT_NAME))
    except UNREADABLE as error:
        raise InputError(f"the run at {run.uri} has a file {PROMPT_NAME} that cannot be read: {error}") from error


def _positions(token: int | None, tokens: str, length: int, opening: int | None) -> tuple[int, int]:
    """The first and the last position that is read. `opening`: tokens in front of a soft prompt that is in front."""
    read = max(1, length)  # without a soft prompt, at the last token of the text
    start = -read if opening is None else opening
    if token is not None:
        return start + token, start + token
    end = start + read - 1
    return (end, end) if tokens == "last" else (start, end)
