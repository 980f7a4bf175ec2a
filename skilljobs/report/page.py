"""The report of a run: one self-contained HTML page to explore, which can be sent to a colleague."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from skilljobs.analysis.comparing import agreement
from skilljobs.analysis.conclusions import conclusions
from skilljobs.analysis.distributions import neuron_text
from skilljobs.analysis.null_thresholds import NullThreshold
from skilljobs.analysis.overlap import correlations_given_others
from skilljobs.analysis.ranking import check_reduced
from skilljobs.analysis.run_tables import accuracy_by_group, metric_table
from skilljobs.checkpoints.safetensors_header import prompt_length
from skilljobs.plan.data_options import command_of
from skilljobs.printable import printable_lines, well_formed
from skilljobs.report import correlation_charts as charts
from skilljobs.report.charts import Figure, specification
from skilljobs.report.densities import density_chart
from skilljobs.report.figures import families, follow_ups, maps, tuning
from skilljobs.report.page_cards import cut, page_cards
from skilljobs.report.page_data import PageData, neuron_id
from skilljobs.report.safe_json import safe_json
from skilljobs.report.themes import DARK, LIGHT
from skilljobs.selection import noun_of
from skilljobs.stats.layout import ALL
from skilljobs.store.reader import RunReader
from skilljobs.store.run import PROMPT_NAME, REPORT_NAME
from skilljobs.uris import child_uri

PAIRS_SHOWN = 20
"""Pairs of metrics that are nearly the same, of which each has a sentence."""
AGREEMENT_TOP = 100
"""Rank down to which the agreement of soft prompts is counted."""
LARGEST_PAGE = 1_950_000
"""Bytes; cards fill what the rest leaves of them."""
FIGURES_BYTES = 250_000
"""Bytes of the figures; those for which there is no room are drawn by `plot`."""
TABLES_BYTES = 80_000
"""Bytes that the page's own tables may take besides its data."""
CHART_HEIGHT = 210
EMBED = "window.vegaEmbed = vegaEmbed;"
"""What the page takes of the bundle of Vega, Vega-Lite and Vega-Embed."""


def write_report(run: RunReader) -> str:
    """Write the `report.html` of a run, and return the URI of that file.

    Raises:
        InputError: the run has no correlations yet.
    """
    check_reduced(run)
    run.folder.write(REPORT_NAME, well_formed(_page(run)).encode())
    return child_uri(run.uri, REPORT_NAME)


def _page(run: RunReader) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters |= {
        "r": lambda value: "-" if value is None else f"{value:+.3f}",
        "small": lambda value: "-" if value is None else f"{value:.1e}",
        "number": lambda value: "-" if value is None else f"{value:.3g}",
        "share": lambda value: "-" if value is None else f"{value:.3f}",
        "neuron": neuron_id,
        "neuron_text": neuron_text,
        "cut": cut,
    }
    data = PageData(run)
    figures, missing = _fitting([*tuning(run), *follow_ups(run), *maps(run, data.metrics)])
    css, script = _part("page.css"), _part("page.js")
    vega = vega_bundle()
    json = _json(run, data, figures)
    fixed = len(css) + len(script) + len(vega) + len(json.encode()) + TABLES_BYTES
    cards = page_cards(data, LARGEST_PAGE - fixed)
    of_cards = ",".join(f"{safe_json(card.id)}:{card.json}" for card in cards)
    return environment.from_string(_part("page.html")).render(
        **_content(run, data),
        figures=figures,
        missing_figures=missing,
        cards=cards,
        css=Markup(css),
        policy=_policy([vega, script]),
        vega=Markup(vega),
        script=Markup(script),
        data=Markup(f'{json[:-1]},"cards":{{{of_cards}}}}}'),
    )


@cache
def vega_bundle() -> str:
    """The JavaScript that draws the page's charts. It takes a second to make, once a process."""
    return _in_script(vl_convert.javascript_bundle(EMBED))


def _part(name: str) -> str:
    return files("skilljobs.report").joinpath(name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    return printable_lines(value) if type(value) is str else value


def _in_script(text: str) -> str:
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _policy(scripts: Sequence[str]) -> str:
    """A policy by which the page's own scripts run and no others, and nothing is fetched from anywhere.

    Vega compiles its expressions, which needs `unsafe-eval`.
    """
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src 'unsafe-eval' {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _fitting(figures: Sequence[Figure]) -> tuple[list[Figure], list[str]]:
    """The figures for which there is room, and the names of the others."""
    kept: list[Figure] = []
    missing: list[str] = []
    room = FIGURES_BYTES
    for figure in figures:
        size = len(safe_json(specification(figure.chart)).encode())
        if size <= room:
            kept.append(figure)
            room -= size
        else:
            missing.append(figure.name)
    return kept, missing


def _json(run: RunReader, data: PageData, figures: Sequence[Figure]) -> str:
    """The page's data but for its cards."""
    size = {"width": "container", "height": CHART_HEIGHT}
    follow_the_picker = {
        "histogram": charts.histogram("histogram-rows"),
        "layers": charts.layers("layers-rows"),
        "halves": charts.halves("halves-rows"),
        "density": density_chart("density-rows"),
    }
    return safe_json(
        {
            **data.json(),
            "run": printable_lines(run.record.run_id),
            "noun": noun_of(run.record.job_spec.units),
            "quantiles": charts.QUANTILES,
            "themes": {"light": LIGHT, "dark": DARK},
            "specs": {name: specification(chart.properties(**size)) for name, chart in follow_the_picker.items()},
            "figures": [{"name": figure.name, "spec": specification(figure.chart)} for figure in figures],
        }
    )


def _content(run: RunReader, data: PageData) -> dict[str, Any]:
    record, prompts = run.record, run.prompts()
    others = [(name, correlations_given_others(run, levels)) for name, levels in families(run, data.metrics).items()]
    readers = {reader.uri: reader for reader in (*prompts, run)}.values()
    stages = [stage for reader in readers for stage in reader.record.stages.items()]
    threshold = data.thresholds.of(data.metrics[0])
    return {
        "record": record,
        "name": record.run_id,
        "command": command_of(record.job_spec),
        "test_examples": sum(record.shards),
        "neurons": sum(layer.count for layer in record.neurons),
        "layers": len(record.neurons),
        "experts": any(layer.experts for layer in record.neurons),
        "unit": noun_of(record.job_spec.units),
        "conclusions": conclusions(run, data.metrics[:1], PAIRS_SHOWN),
        "null_level": threshold.level if isinstance(threshold, NullThreshold) else None,
        "positions": prompt_length(prompts[0].folder.read(PROMPT_NAME)),
        "tuned": record.job_spec.soft_prompt is None,
        "prompts": [prompt.record for prompt in prompts],
        "several_prompts": len(prompts) > 1,
        "groups": accuracy_by_group(run).rows(named=True),
        "metrics": [{**row, "rare": data.rare(row["metric"])} for row in metric_table(run).rows(named=True)],
        "drawn_metrics": set(data.metrics),
        "rows": data.rows,
        "left_out": data.left_out,
        "given_others": [(name, rows.rows(named=True)) for name, rows in others if rows["r_given_others"].count()],
        "agreement": agreement(run, data.metrics[0], ALL, AGREEMENT_TOP).rows(named=True) if len(prompts) > 1 else [],
        "agreement_metric": data.metrics[0],
        "numerics": record.numerics.model_dump() if record.numerics else {},
        "seconds": [(name, stage.seconds) for name, stage in stages],
    }
