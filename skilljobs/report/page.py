"""The report of a run: one self-contained HTML page that can be sent to a colleague."""

import base64
from importlib.resources import files
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined

from skilljobs.analysis.comparing import agreement
from skilljobs.analysis.conclusions import conclusions
from skilljobs.analysis.distributions import neuron_text
from skilljobs.analysis.metric_warnings import rare_kind_in
from skilljobs.analysis.neuron_card import Cards, NeuronCard
from skilljobs.analysis.null_thresholds import NullThreshold, NullThresholds
from skilljobs.analysis.overlap import correlations_given_others
from skilljobs.analysis.ranking import check_reduced, top
from skilljobs.analysis.run_tables import accuracy_by_group, metric_table
from skilljobs.checkpoints.safetensors_header import read_header
from skilljobs.plan.data_options import command_of
from skilljobs.printable import well_formed
from skilljobs.report.figures import SavedFigure, draw_figures, families, usual_metrics
from skilljobs.report.sketch import density_sketch
from skilljobs.selection import noun_of
from skilljobs.stats.layout import ALL, WITHIN
from skilljobs.stats.neurons import NeuronName
from skilljobs.store.reader import RunReader
from skilljobs.store.run import FIGURES, PROMPT_NAME, REPORT_NAME
from skilljobs.uris import child_uri

PAIRS_SHOWN = 20
"""Pairs of metrics that are nearly the same, of which each has a sentence."""
NEURONS_SHOWN = 5
"""Neurons in the table of each metric and population; those of the population `all` also have a card."""
AGREEMENT_TOP = 100
"""Rank down to which the agreement of soft prompts is counted."""
LONGEST_TEXT = 600
"""Characters of a text that are shown, counted from its end."""


def write_report(run: RunReader) -> str:
    """Draw the figures of a run, write its `report.html`, and return the URI of that file.

    Raises:
        InputError: the run has no correlations yet.
    """
    check_reduced(run)
    page = _page(run, draw_figures(run))
    run.folder.write(REPORT_NAME, well_formed(page).encode())
    return child_uri(run.uri, REPORT_NAME)


def _page(run: RunReader, figures: list[SavedFigure]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "r": lambda value: "-" if value is None else f"{value:+.3f}",
        "small": lambda value: "-" if value is None else f"{value:.1e}",
        "number": lambda value: "-" if value is None else f"{value:.3g}",
        "share": lambda value: "-" if value is None else f"{value:.3f}",
        "visible": lambda token: repr(token)[1:-1],
        "cut": lambda text: text if len(text) <= LONGEST_TEXT else f"... {text[-LONGEST_TEXT:]}",
    }
    template = environment.from_string(files("skilljobs.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(**_content(run), figures=[_figure(run, figure) for figure in figures])


def _content(run: RunReader) -> dict[str, Any]:
    record, metrics = run.record, usual_metrics(run)
    populations = [name for name in run.layout().reported_populations if name == ALL or name.startswith(WITHIN)]
    prompts = run.prompts()
    others = [(name, correlations_given_others(run, levels)) for name, levels in families(run, metrics).items()]
    readers = {reader.uri: reader for reader in (*prompts, run)}.values()
    stages = [stage for reader in readers for stage in reader.record.stages.items()]
    thresholds = NullThresholds(run)
    threshold = thresholds.of(metrics[0])
    known = [metric.name for metric in run.layout().metrics if metric.kind != "null"]
    rare = {name: rare_kind_in(run, thresholds.moments, name) for name in known}
    cards = [(card, card.title, _sketches(card)) for card in _cards(run, metrics)]
    return {
        "record": record,
        "name": record.run_id,
        "command": command_of(record.job_spec),
        "test_examples": sum(record.shards),
        "neurons": sum(layer.count for layer in record.neurons),
        "layers": len(record.neurons),
        "unit": noun_of(record.job_spec.units),
        "conclusions": conclusions(run, metrics[:1], PAIRS_SHOWN),
        "null_level": threshold.level if isinstance(threshold, NullThreshold) else None,
        "positions": _prompt_length(prompts[0]),
        "tuned": record.job_spec.soft_prompt is None,
        "prompts": [prompt.record for prompt in prompts],
        "groups": accuracy_by_group(run).rows(named=True),
        "metrics": [{**row, "rare": rare[row["metric"]]} for row in metric_table(run).rows(named=True)],
        "tops": [
            (
                metric,
                rare[metric],
                [(population, _top(run, metric, population, thresholds)) for population in populations],
            )
            for metric in metrics
        ],
        "given_others": [(name, rows.rows(named=True)) for name, rows in others if rows["r_given_others"].count()],
        "agreement": agreement(run, metrics[0], ALL, AGREEMENT_TOP).rows(named=True) if len(prompts) > 1 else [],
        "agreement_metric": metrics[0],
        "cards": cards,
        "card_titles": {title for _, title, _ in cards},
        "numerics": record.numerics.model_dump() if record.numerics else {},
        "seconds": [(name, stage.seconds) for name, stage in stages],
    }


def _top(run: RunReader, metric: str, population: str, thresholds: NullThresholds) -> list[dict[str, Any]]:
    threshold = thresholds.of(metric, population)
    null = threshold.r if isinstance(threshold, NullThreshold) else 0.0
    return [
        {"name": neuron_text(row), "is_below_null": abs(row["r"]) <= null, **row}
        for row in top(run, metric, population, NEURONS_SHOWN).iter_rows(named=True)
    ]


def _prompt_length(run: RunReader) -> int:
    shapes = (entry["shape"] for entry in read_header(run.folder.read(PROMPT_NAME)).values() if "shape" in entry)
    return int(next(shapes)[0])


def _cards(run: RunReader, metrics: list[str]) -> list[NeuronCard]:
    strongest = run.strongest().filter(pl.col("population") == ALL, pl.col("metric").is_in(metrics)).collect()
    tops = pl.concat([strongest.filter(pl.col("metric") == metric).head(NEURONS_SHOWN) for metric in metrics])
    rows = set(tops.select("layer", "expert", "neuron", "token").rows())
    neurons = sorted(((NeuronName(*key), token) for *key, token in rows), key=lambda key: (*key[0].order, key[1] or 0))
    cards = Cards(run, {name for name, _ in neurons})
    return [cards.card(name, token) for name, token in neurons]


def _sketches(card: NeuronCard) -> list[tuple[str, str]]:
    return [(name, density_sketch(groups)) for name, groups in card.groups.items()]


def _figure(run: RunReader, figure: SavedFigure) -> dict[str, str]:
    data = run.folder.read(f"{FIGURES}/{figure.name}.svg")
    return {"caption": figure.caption, "name": figure.name, "data": base64.b64encode(data).decode()}
