"""The kinds of values in external columns: numbers, bools, texts and named values, which no column may mix."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from skilljobs.errors import InputError
from skilljobs.tasks.base import PLACES, Example, MetricValue
from skilljobs.tasks.external_columns import ExternalColumn, external_columns

_KIND_NAMES: dict[type, str] = {bool: "bools", int: "numbers", float: "numbers", str: "text"}
_NAMED = "named values"


def _kind(value: MetricValue) -> str:
    return next(name for kind, name in _KIND_NAMES.items() if isinstance(value, kind))


def _kind_of_entry(entry: MetricValue | Mapping[str, MetricValue]) -> str:
    known = _KIND_NAMES.get(type(entry))
    if known is not None:
        return known
    return _NAMED if isinstance(entry, Mapping) else _kind(entry)


def mixed_kinds(examples: Collection[Example]) -> dict[str, str]:
    """The examples whose value in a column is of another kind than most, by `example_id`, with the reason.

    A column with numbers in most rows and a text in one has one bad row.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        for column, entry in example.metrics.items():
            if entry is not None:
                counts[column][_kind_of_entry(entry)] += 1
    reasons: dict[str, str] = {}
    for column, kinds in counts.items():
        usual = max(kinds, key=lambda kind: kinds[kind])
        for kind in kinds if len(kinds) > 1 else ():
            if kind != usual:
                reasons |= {
                    example.example_id: f"`{column}` is {entry!r}, and most rows have {usual} there"
                    for example in examples
                    if (entry := example.metrics.get(column)) is not None and _kind_of_entry(entry) == kind
                }
    return reasons


@dataclass
class KindsSeen:
    """Which kinds of values columns hold, as far as it decides whether one of them mixes kinds."""

    entries: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Of each column; named values are a kind."""
    single: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The same, with the kinds of the named values in their place."""

    @classmethod
    def of(cls, examples: Iterable[Example]) -> "KindsSeen":
        """The kinds in examples."""
        seen = cls()
        for example in examples:
            for column, entry in example.metrics.items():
                if entry is not None:
                    kind = _kind_of_entry(entry)
                    seen.entries[column].add(kind)
                    if kind != _NAMED:
                        seen.single[column].add(kind)
                    else:
                        values = (value for value in entry.values() if value is not None)  # type: ignore[union-attr]
                        seen.single[column].update(f"{_NAMED}: {_kind(value)}" for value in values)
        return seen

    @classmethod
    def of_types(cls, types: Mapping[str, type]) -> "KindsSeen":
        """The kinds of columns of one type each."""
        kinds = {name: {_KIND_NAMES[kind]} for name, kind in types.items() if kind in _KIND_NAMES}
        return cls(defaultdict(set, kinds), defaultdict(set, {name: set(of) for name, of in kinds.items()}))

    def add(self, other: "KindsSeen") -> None:
        """Add the kinds of more examples."""
        for mine, others in ((self.entries, other.entries), (self.single, other.single)):
            for name, kinds in others.items():
                mine[name] |= kinds

    def forget(self, columns: Iterable[str]) -> None:
        """Leave columns out."""
        for name in columns:
            self.entries.pop(name, None)
            self.single.pop(name, None)

    @property
    def may_be_mixed(self) -> bool:
        """Whether `mixed_kinds` may find an example."""
        return any(len(kinds) > 1 for kinds in self.entries.values())

    @property
    def may_be_refused(self) -> bool:
        """Whether `check_columns` may find that a column mixes kinds, or has a text among its named values."""
        return any(len(kinds) > 1 or f"{_NAMED}: text" in kinds for kinds in self.single.values())


def check_columns(examples: Iterable[Example]) -> None:
    """Reject columns that mix kinds of values, because a stored column has one type, or that would have one name.

    Raises:
        InputError: a column mixes kinds of values, or two have one name; the message names them.
    """
    kinds: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        for column, entry in example.metrics.items():
            if type(entry) in _KIND_NAMES:
                kinds[column].add(_KIND_NAMES[type(entry)])
                continue
            for value in entry.values() if isinstance(entry, Mapping) else (entry,):
                if value is not None:
                    kinds[column].add(_kind(value))
                if isinstance(value, str) and isinstance(entry, Mapping):
                    raise InputError(
                        f"the column {column!r} holds the text {value!r} among its named values; they must be numbers"
                    )
    check_names(external_columns(examples))
    for column, names in kinds.items():
        if len(names) > 1:
            raise InputError(
                f"the column {column!r} mixes {' and '.join(sorted(names))}; all values must be of one kind"
            )


def check_names(sources: Iterable[ExternalColumn]) -> None:
    """Reject external columns that would have the name of another one, or of a part of an example.

    Raises:
        InputError: names them.
    """
    stored: dict[str, ExternalColumn] = {}
    for source in sources:
        if source.name in PLACES:
            raise InputError(f"the metric {source.name!r} has the name of a part of an example: rename it")
        first = stored.setdefault(source.name, source)
        if first is not source:
            raise InputError(
                f"the columns {first.column!r} and {source.column!r} both make a column {source.name!r}: rename one"
            )
