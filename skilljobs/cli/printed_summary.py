"""The summary that is printed when a job is done."""

from skilljobs.analysis.comparing import agreement
from skilljobs.analysis.conclusions import conclusions
from skilljobs.analysis.null_thresholds import NullThresholds
from skilljobs.analysis.ranking import top
from skilljobs.cli.tables import agreement_table, neuron_table, null_text, table_console
from skilljobs.printable import printable
from skilljobs.stats.layout import ALL, WITHIN
from skilljobs.store.reader import RunReader

NEURONS_SHOWN = 5
AGREEMENT_TOP = 100
"""Rank down to which the agreement of soft prompts is counted."""


def print_summary(run: RunReader) -> None:
    """Print what the run says, its time, and the strongest neurons of confidence, or of its first metric without it."""
    console = table_console()
    record, prompts = run.record, run.prompts()
    seconds: dict[str, float] = {}
    metrics = [name for name, kind in run.metrics().select("metric", "kind").collect().rows() if kind != "null"]
    metric = "confidence" if "confidence" in metrics else metrics[0]
    for sentence in conclusions(run, [metric]):
        console.print(printable(sentence), soft_wrap=True)
    for reader in {reader.uri: reader for reader in (*prompts, run)}.values():
        for stage, entry in reader.record.stages.items():
            seconds[stage] = seconds.get(stage, 0.0) + entry.seconds
    console.print(
        f"time: {sum(seconds.values()):.0f} s (" + ", ".join(f"{name} {s:.1f}" for name, s in seconds.items()) + ")"
    )
    if record.stopped_at is not None:
        console.print(f"stopped after {record.stopped_at} shards (--until-ci {record.job_spec.until_ci:g})")
    if record.quarantined:
        console.print(f"left out: {len(record.quarantined)} bad rows, listed in run.json")
    for number, prompt in enumerate(prompts):
        for example in prompt.record.set_aside[:1]:
            of_prompt = f" with prompt {number}" if len(prompts) > 1 else ""
            console.print(
                f"set aside{of_prompt}: {len(prompt.record.set_aside)} test examples whose activations or score are not"
                f" finite (NaN or infinite), {example.example_id} the first, all listed in run.json"
            )
    thresholds = NullThresholds(run)
    for population in run.layout().reported_populations:
        if population == ALL or population.startswith(WITHIN):
            rows = top(run, metric, population, NEURONS_SHOWN)
            threshold = thresholds.of(metric, population)
            console.print(neuron_table(rows, f"top neurons: {metric}, {population}", console, threshold))
            console.print(printable(f"{population}: {null_text(threshold)}"), soft_wrap=True)
    if len(prompts) > 1:
        pairs = agreement(run, metric, ALL, AGREEMENT_TOP)
        console.print(agreement_table(pairs, f"agreement of soft prompts: {metric}, all"))
