"""The documentation site: `python -m sphinx -W --keep-going -c docs . build/site`.

The root of the repository is the source, so that a link is right both on the site and where files are read as they are.
"""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "skilljobs"
author = "The skilljobs developers"
copyright = f"2026, {author}"
version = release = version_of("skilljobs")

extensions = ["myst_parser", "mathml"]
source_suffix = {".md": "markdown"}
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/*.md",
    "skilljobs/lm/tiny/weights/MODEL_CARD.md",
    "tests/benchmarks/RESULTS.md",
]
nitpicky = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = "skilljobs"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
