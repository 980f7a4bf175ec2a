"""The card of a published run: what it is, how it was made, what is in its files. It is Markdown with YAML in front."""

import json
import re
from collections.abc import Sequence

from skilljobs.export.published_files import PublishedFile
from skilljobs.plan.data_options import command_of
from skilljobs.printable import printable
from skilljobs.store.provenance import units_of
from skilljobs.store.record import RunRecord
from skilljobs.store.schema import CORRELATIONS

TABLES = {
    "top": ("top.parquet", "the 1,000 neurons of largest |r| of each metric and population"),
    "correlations": ("correlations/*.parquet", "r of every neuron with every metric, over every population"),
    "activations": ("activations.parquet", "activations of the strongest neurons, example by example"),
    "examples": ("examples/*.parquet", "the test examples, as the model read them"),
    "scores": ("shards/scores-*.parquet", "what the model answered to each example"),
    "metrics": ("metrics.parquet", "the metrics"),
    "tuning": ("prompt/tuning.parquet", "the tuning of the soft prompt"),
    "ablation": ("ablation.parquet", "what silencing neurons did"),
    "effects": ("effects.parquet", "estimated effects of single neurons"),
    "shortcuts": ("shortcuts.parquet", "what neurons follow, and whether it is a shortcut"),
}
"""By name in the data set viewer: files, and what they hold."""
MEANINGS = {
    "layer, expert, neuron": "which neuron (a coordinate of what enters an FFN's down projection), or whatever is read",
    "token": "the position of the soft prompt; null where positions are aggregated",
    "metric, population": "what is correlated, and over which examples",
    "n": "examples",
    "r, ci_low, ci_high": "Pearson's r and its 95 % interval (Fisher's z); null where it is undefined",
    "p, q": "two-sided p, and q (Benjamini-Hochberg within a metric and population)",
    "r_half0, r_half1": "r on either half of the examples, which share no unit",
    "activation_mean, activation_std": "of the neuron's activation",
}


def dataset_card(record: RunRecord, files: Sequence[PublishedFile], place: str, texts: bool) -> str:
    """The text of the card for `files` of a run that are published at `place`."""
    names = [file.name for file in files]
    tables = {name: table for name, table in TABLES.items() if any(_is_in(file, table[0]) for file in names)}
    front = {
        "pretty_name": f"Skill neurons: {record.run_id}",
        "tags": ["interpretability", "skill-neurons", "skilljobs"],
        "configs": [{"config_name": name, "data_files": pattern} for name, (pattern, _) in tables.items()],
    }
    head = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items())  # JSON is YAML
    return f"---\n{head}---\n\n{_body(record, files, place, texts, tables)}"


def _body(
    record: RunRecord,
    files: Sequence[PublishedFile],
    place: str,
    texts: bool,
    tables: dict[str, tuple[str, str]],
) -> str:
    before, after, test = map(_shown, (record.accuracy.before, record.accuracy.after, record.accuracy.test))
    accuracies = f"{before} on validation before tuning, {after} after, {test} on test"
    spec, counts, size = record.job_spec, record.examples, sum(file.size for file in files)
    commit = f" at the commit {code(record.model.commit)}" if record.model.commit else ""
    units = units_of(CORRELATIONS.names)
    columns = "\n".join(
        f"| {', '.join(f'`{name}`' for name in names.split(', '))} | {text} | {units.get(names.split(', ')[0], '')} |"
        for names, text in MEANINGS.items()
    )
    listed = "\n".join(f"- `{pattern}`: {text}" for pattern, text in tables.values())
    without = "" if any("/sums-" in file.name for file in files) else ", without the sums of shards"
    withheld = "" if texts else " The texts of the examples are not published."
    return f"""# Which neurons follow what: {code(record.run_id)}

Correlations of single neurons of a language model with metrics of the examples that it reads and answers, measured at
the positions of a soft prompt by skilljobs. They show what neurons follow, not what they cause.

- model: {code(record.model.name)}{commit}
- task: {code(spec.task or "a table of one's own")}
- what is read: {code(spec.units)}
- examples: {counts.test:,} tested, {counts.train:,} tuned on, {counts.validation:,} to stop tuning early
- accuracy: {accuracies}
- metrics that come from columns: {", ".join(map(code, record.columns.metrics)) or "none"}
- size: {len(files):,} files, {size / 1e6:.1f} MB{without}

Made by

{_block(command_of(spec))}

## Files

{listed}
- `run.json`: options, versions of packages, numerics, seconds; `prompt/soft_prompt.safetensors`: the soft prompt

```python
import polars as pl

pl.scan_parquet({json.dumps(place + "/correlations/*.parquet")}).filter(pl.col("q") < 0.01).collect()
```

## Columns of `correlations` and `top`

| column | meaning | unit |
|---|---|---|
{columns}

## Licence

None is stated here. The examples, and what was measured on them, come from the data of the task and from the model:
their licences decide what may be done with this data set. Whoever publishes it adds `license` to the lines at the
top.{withheld}
"""


def code(text: str) -> str:
    """Text from data as a code span, in which Markdown and HTML mean nothing."""
    shown = printable(text)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if "`" in shown or not shown.strip() else ""
    return f"{ticks}{space}{shown}{space}{ticks}"


def _block(text: str) -> str:
    return "".join(f"    {line}\n" for line in printable(text).splitlines() or [""])


def _is_in(name: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]*"), name) is not None


def _shown(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.3f}"
