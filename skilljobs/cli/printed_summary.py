"""The summary that is printed when a job is done."""

from skilljobs.analysis.comparing import agreement
from skilljobs.analysis.ranking import null_threshold, top
from skilljobs.cli.tables import agreement_table, neuron_table, null_text, table_console
from skilljobs.stats.layout import ALL, WITHIN
from skilljobs.store.reader import RunReader

NEURONS_SHOWN = 5
AGREEMENT_TOP = 100
"""Rank down to which the agreement of soft prompts is counted."""


def print_summary(run: RunReader) -> None:
    """Print accuracy, time, and the strongest neurons of confidence, or of the run's first metric if it has none."""
    console = table_console()
    record, prompts = run.record, run.prompts()
    seconds: dict[str, float] = {}
    for number, prompt in enumerate(prompts):
        accuracy = {name: "-" if value is None else f"{value:.3f}" for name, value in prompt.record.accuracy}
        console.print(
            f"accuracy{f' of prompt {number}' if len(prompts) > 1 else ''}: {accuracy['before']} before tuning,"
            f" {accuracy['after']} after (validation), {accuracy['test']} on test"
        )
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
    metrics = run.metrics().collect()["metric"].to_list()
    metric = "confidence" if "confidence" in metrics else metrics[0]
    for population in run.layout().reported_populations:
        if population == ALL or population.startswith(WITHIN):
            rows = top(run, metric, population, NEURONS_SHOWN)
            console.print(neuron_table(rows, f"top neurons: {metric}, {population}", console))
    threshold = null_threshold(run, metric)
    if threshold is not None:
        console.print(f"all: {null_text(threshold)}")
    if len(prompts) > 1:
        pairs = agreement(run, metric, ALL, AGREEMENT_TOP)
        console.print(agreement_table(pairs, f"agreement of soft prompts: {metric}, all"))
