"""What the Parquet files of a run say of where they come from, in the key-value metadata of their footers.

It is for people and for other programs: skilljobs itself reads none of it. Files of equal runs must be equal, byte for
byte, whichever machine wrote them and however often; so it holds nothing that may differ between these: no time, no
path, no option that changes no number, and nothing that becomes known only while the job runs.
"""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePath

from skilljobs.hashing import stable_digest
from skilljobs.spec import WITHOUT_EFFECT_ON_NUMBERS
from skilljobs.store.files import Folder
from skilljobs.store.record import RunRecord
from skilljobs.store.run import RECORD, RunFiles

PREFIX = "skilljobs."
LONGEST_VALUE = 100
LONGEST_SPEC = 1000
"""Characters. A longer value of an option, or all of them, is represented by a digest."""
DIGESTS = ("model_digest", "adapter_digest", "examples_digest", "commit")
"""What the fingerprint has in place of options that name files."""
_INDEX, _CORRELATION, _PROBABILITY = "number, from 0", "correlation, -1 to 1", "probability"
_ACTIVATION, _NATS, _AS_OUTCOME = "activation", "nats", "as the outcome"
UNITS = {
    **dict.fromkeys(("layer", "token", "expert", "neuron", "predictivity_token", "prompt", "draw"), _INDEX),
    **dict.fromkeys(("n", "n_with", "n_without"), "examples"),
    **dict.fromkeys(("r", "r_half0", "r_half1", "metric_r_half1"), _CORRELATION),
    **dict.fromkeys(("ci_low", "ci_high"), _CORRELATION),
    **dict.fromkeys(("p", "q", "fall_p", "margin_fall_p", "distance_p"), _PROBABILITY),
    **dict.fromkeys(("activation", "activation_mean", "activation_std", "threshold"), _ACTIVATION),
    **dict.fromkeys(("confidence", "confidence_mean", "*_probability", "confidence_with*"), _PROBABILITY),
    **dict.fromkeys(("margin", "entropy", "target_logprob", "loss", "logit", "margin_fall"), _NATS),
    **dict.fromkeys(("delta_margin", "delta_target_logprob", "neuron_delta_margin_*"), _NATS),
    "delta_confidence": _PROBABILITY,
    **dict.fromkeys(("accuracy", "delta_accuracy", "accuracy_with*", "predictivity", "share"), "fraction of examples"),
    **dict.fromkeys(("effect", "effect_abs", "effect_half0", "effect_half1"), _AS_OUTCOME),
    "step": "tuning steps",
    "text_tokens": "tokens",
    "reference": _ACTIVATION,
    "sum_a": "sum of activation - reference",
    "sum_a:*": "as sum_a, where there is the metric",
    "sum_aa": "sum of (activation - reference)^2",
    "sum_aa:*": "as sum_aa, where there is the metric",
    "sum_ay:*": "sum of (activation - reference) (metric - its reference)",
}
"""By column, or by a pattern of columns. What is in no unit, or in that of the user's data, is left out."""
OF_METRICS = {
    "reference": "as the metric",
    "sum_a": "sum of metric_a - its reference",
    "sum_b": "sum of metric_b - its reference",
    "sum_ab": "sum of products of both",
    "sum_aa": "sum of squares of the first",
    "sum_bb": "sum of squares of the second",
}
"""Of tables about metrics alone."""


def provenance(record: RunRecord) -> dict[str, str]:
    """What each file of a run says: the run, its model, what is read of it, and the options that decide its numbers."""
    fields, name = record.fingerprint.fields, record.model.name
    chosen = record.job_spec.chosen.keys() - WITHOUT_EFFECT_ON_NUMBERS
    spec = {name: _short(fields[name]) for name in chosen if name in fields}
    spec |= {name: fields[name] for name in DIGESTS if fields.get(name) is not None}
    text = _json(spec)
    if len(text) > LONGEST_SPEC:
        text = _json({"digest": _digest(text)})
    return {
        PREFIX + "run": record.run_id,
        PREFIX + "model": PurePath(name).name if PurePath(name).is_absolute() else name,
        PREFIX + "reads": "sae" if record.job_spec.units.startswith("sae:") else record.job_spec.units,
        PREFIX + "spec": text,
    }


def provenance_of(folder: Folder) -> dict[str, str]:
    """See `provenance`, of the run in a folder; nothing if there is none, or its files say nothing.

    Raises:
        InputError: its record cannot be read.
    """
    record = RunFiles(folder.uri).record if folder.exists(RECORD) else None
    return provenance(record) if record is not None and record.provenance else {}


def without_names(about: Mapping[str, str]) -> dict[str, str]:
    """What `about` says without the names of run and model: for files whose digests are part of the fingerprint, which
    does not depend on names."""
    return {key: value for key, value in about.items() if key not in (PREFIX + "run", PREFIX + "model")}


def with_units(about: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """What a file with these columns says: `about`, and the units of the columns."""
    return {**about, PREFIX + "units": _json(units_of(columns))}


def units_of(columns: Sequence[str]) -> dict[str, str]:
    """The units of those of the columns that have one; columns of one pattern under that.

    The columns of examples are named by the user, and have none.
    """
    if "text" in columns:
        return {}
    known = dict(UNITS)
    if "metric_a" in columns or ("kind" in columns and "nullable" in columns):
        known |= OF_METRICS
    if "outcome" in columns:
        known |= dict.fromkeys(("ci_low", "ci_high"), _AS_OUTCOME)
    return {pattern: unit for pattern, unit in known.items() if any(fnmatchcase(column, pattern) for column in columns)}


def _short(value: object) -> object:
    return f"digest {_digest(_json(value))}" if len(_json(value)) > LONGEST_VALUE else value


def _digest(text: str) -> str:
    return stable_digest(text, size=16).hex()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)
