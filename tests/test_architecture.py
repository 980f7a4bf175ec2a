"""docs/architecture.md is the map of the code as it is."""

import re
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

from grimp import build_graph

from skilljobs.pipeline.stages import STAGES, STAGES_OVER_PROMPTS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "skilljobs"
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LARGEST_ROOM = 0.2
"""Of all lines of code."""
LONGEST_MODULE = 260


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]


def test_the_map_names_exactly_the_rooms_that_there_are() -> None:
    map_section = DOCUMENT.partition("## The map")[2].partition("## The path")[0]
    first_cells = re.findall(r"^\| (`[^|]*) \|", map_section, re.MULTILINE)
    named = {name for cell in first_cells for name in re.findall(r"`([\w./]+)`", cell)}
    rooms = {f"{path.name}/" for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    files = {path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    assert named == rooms | files


def test_every_file_that_is_named_exists() -> None:
    names = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.\w+)`", DOCUMENT))
    assert len(names) > 30
    for name in names:
        assert (PACKAGE / name).is_file() or (ROOT / name).is_file(), name


def test_no_room_is_larger_than_a_fifth_and_no_module_is_long() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    rooms = Counter[str]()
    for path, count in lines.items():
        rooms[path.relative_to(PACKAGE).parts[0]] += count
        assert count <= LONGEST_MODULE, path
    assert max(rooms.values()) <= LARGEST_ROOM * sum(lines.values())


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even for types alone."""
    graph = build_graph("skilljobs")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 150
    TopologicalSorter(imports).prepare()


def test_no_two_modules_have_the_same_file_name() -> None:
    names = Counter(path.name for path in modules())
    assert [name for name, count in names.items() if count > 1] == []


def test_every_room_is_a_layer() -> None:
    layers = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("layers = [")[2].partition("]")[0]
    listed = set(re.findall(r"skilljobs\.(\w+)", layers))
    there = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    there |= {path.stem for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    assert listed == there


def test_stages_have_names_of_their_own_and_say_what_they_write() -> None:
    for stages in (STAGES, STAGES_OVER_PROMPTS):
        assert len({stage.name for stage in stages}) == len(stages)
        assert all(stage.writes for stage in stages)
        assert all(type(stage).__doc__ for stage in stages)
