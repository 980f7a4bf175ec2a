"""The figure of effects: neurons by whether they follow and cause, and what it is drawn as."""

import numpy as np
import polars as pl
import vl_convert

from skilljobs.report.charts import specification
from skilljobs.report.effect_figures import effects_chart


def rows(count: int = 3000) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "layer": np.repeat([0, 1, 2], count // 3),
            "neuron": np.tile(np.arange(count // 3), 3),
            "r": rng.normal(0, 0.1, count),
            "effect": rng.normal(0, 0.01, count),
            "consistency": np.abs(rng.normal(0, 1.5, count)),
            "outcome": ["margin"] * count,
        }
    )


def counted(table: pl.DataFrame, least_r: float | None, least: float | None) -> dict[str, int]:
    points = effects_chart(table, "confidence", least_r, least).to_dict(validate=False)["layer"]
    [values] = [layer["data"]["values"] for layer in points if layer["mark"]["type"] == "circle"]
    found: dict[str, int] = {}
    for value in values:
        kind = value["kind"].partition(" ")[0]
        found[kind] = found.get(kind, 0) + value["neurons"]
    return found


def test_every_neuron_is_counted_once_as_what_it_is() -> None:
    table = rows()
    follows, causes = table["r"].abs() > 0.2, table["consistency"] > 3.0
    expected = {
        "both": (follows & causes).sum(),
        "follows": (follows & ~causes).sum(),
        "causes": (~follows & causes).sum(),
        "neither": (~follows & ~causes).sum(),
    }
    assert counted(table, 0.2, 3.0) == {kind: number for kind, number in expected.items() if number}
    assert counted(table, None, None) == {"neither": 3000}


def test_it_is_drawn_small_and_without_effects_too() -> None:
    for table in (rows(), rows().with_columns(effect=0.0 * pl.col("effect"), consistency=None)):
        svg = vl_convert.vegalite_to_svg(specification(effects_chart(table, "a<b>" * 20, 0.2, None)))
        assert "r with" in svg
        assert len(svg) < 2_000_000
