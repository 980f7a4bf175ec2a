"""The page in a real browser: it is explored by clicks and keys, asks for nothing from a network and runs no data."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import skilljobs

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("ray_here"),
    pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed"),
]
DARK_PAGE = "rgb(20, 23, 26)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser: Any, page: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page in a tab, in which no error is said, nothing is fetched and no text from the data is run."""
    context = browser.new_context(**getattr(request, "param", {}))
    context.set_default_timeout(20_000)
    opened = context.new_page()
    said: list[str] = []
    fetched: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))

    def fetch(route: Any) -> None:
        fetched.append(route.request.url)
        route.continue_()

    context.route("**/*", fetch)
    opened.goto(page.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.wait_for_selector("#histogram svg.marks")
    yield opened
    assert said == []
    assert fetched == [page.as_uri()]
    assert opened.evaluate("window.taken") is None
    context.close()


def column(tab: Any, table: str, number: int) -> list[str]:
    found: list[str] = tab.locator(f"#{table} tbody tr:visible td:nth-child({number})").all_inner_texts()
    return found


def test_what_the_page_shows(tab: Any, run: skilljobs.Run) -> None:
    assert tab.title() == run.record.run_id
    assert "accuracy on test" in tab.locator("ul").first.inner_text()
    for heading in ("In short", "Did the prompt learn?", "How strong are the neurons?", "Explore", "Figures"):
        assert tab.get_by_role("heading", name=heading, exact=True).count() == 1
    names = {figure.stem for figure in (Path(run.uri) / "figures").glob("*.svg")}
    for figure in names & {"heatmap", "tuning"}:
        tab.wait_for_selector(f"#figure-{figure} svg")
    top = run.top("confidence", k=1).row(0, named=True)
    first = tab.locator("#strongest tbody tr").first.inner_text()
    assert first.startswith(f"layer {top['layer']} neuron {top['neuron']}\t{top['r']:+.3f}")


def test_a_click_on_a_heading_sorts(tab: Any) -> None:
    heading = tab.locator("#strongest th", has_text="half 1").locator("button")
    heading.click()
    values = [float(value) for value in column(tab, "strongest", 7)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 1
    heading.focus()
    tab.keyboard.press("Enter")
    assert [float(value) for value in column(tab, "strongest", 7)] == sorted(values)
    assert tab.locator("#strongest th", has_text="half 1").get_attribute("aria-sort") == "ascending"


def test_text_filters_a_table(tab: Any) -> None:
    everything = column(tab, "strongest", 1)
    tab.fill("#strongest-filter", "layer 1")
    shown = column(tab, "strongest", 1)
    assert shown == [name for name in everything if name.startswith("layer 1")]
    assert 0 < len(shown) < len(everything)
    tab.fill("#metrics-filter", "words")
    assert column(tab, "metrics", 1) == ["words"]


def test_picking_a_metric_and_a_population_changes_charts_and_table(tab: Any, run: skilljobs.Run) -> None:
    bars = tab.locator("#histogram svg.marks").inner_html()
    tab.select_option("#metric", label="words")
    tab.select_option("#population", label="within:kind")
    top = run.top("words", k=1, population="within:kind").row(0, named=True)
    row = tab.locator("#strongest tbody tr").first.inner_text()
    assert row.startswith(f"layer {top['layer']} neuron {top['neuron']}\t{top['r']:+.3f}")
    assert f"n = {top['n']} examples" in tab.inner_text("#about")
    tab.wait_for_function("before => document.querySelector('#histogram svg.marks')?.innerHTML !== before", arg=bars)
    tab.locator("#metrics button", has_text="level").click()
    assert tab.locator("#metric option:checked").inner_text() == "level"


def test_a_click_on_a_neuron_opens_its_card(tab: Any, run: skilljobs.Run) -> None:
    names = tab.locator("#strongest tbody button").all_inner_texts()
    tab.locator("#strongest tbody button").first.click()
    assert tab.inner_text("#card-title") == names[0]
    body = tab.locator("#card-body")
    body.locator("svg").first.wait_for()
    assert "highest activations" in body.inner_text()
    assert "</script><script>window.taken = true" in body.inner_text()
    tab.keyboard.press("Escape")
    assert not tab.locator("#card").is_visible()
    tab.locator("#halves .mark-symbol path").first.click()
    assert tab.inner_text("#card-title") in names


def test_hovering_over_a_chart_names_the_neuron_and_its_values(tab: Any) -> None:
    tab.locator("#halves .mark-symbol path").first.hover()
    tip = tab.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert {"neuron", "r", "r on half 0", "r on half 1", "q"} <= {
        text.rstrip(":") for text in tip.locator(".key").all_inner_texts()
    }


def test_a_neuron_is_found_by_its_name(tab: Any) -> None:
    tab.fill("#search", "1/3")
    tab.keyboard.press("Enter")
    assert tab.inner_text("#card-title") == "layer 1 neuron 3"
    tab.click("#card-close")
    tab.fill("#search", "9/3")
    tab.keyboard.press("Enter")
    assert "There is no such neuron: the run read layers 0 to 1" in tab.inner_text("#search-says")
    assert not tab.locator("#card").is_visible()


@pytest.mark.parametrize("tab", [{"color_scheme": "dark"}], indirect=True)
def test_the_page_is_dark_where_the_system_is(tab: Any) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    assert tab.evaluate(background) == DARK_PAGE
    label = "getComputedStyle(document.querySelector('#histogram svg.marks text')).fill"
    assert tab.evaluate(label) == "rgb(230, 230, 230)"
    tab.emulate_media(color_scheme="light")
    tab.wait_for_function(f"{label} === 'rgb(34, 34, 34)'")
    assert tab.evaluate(background) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("tab", [{"viewport": {"width": 360, "height": 700}}], indirect=True)
def test_a_narrow_window_scrolls_down_alone(tab: Any) -> None:
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    assert tab.locator("#histogram svg.marks").bounding_box()["width"] <= 360
    tab.locator("#strongest tbody button").first.click()
    assert tab.locator("#card").bounding_box()["width"] <= 360
