"""`skilljobs doctor --architectures`."""

from rich import box
from rich.table import Table

from skilljobs.cli.tables import table_console
from skilljobs.neurons.architectures import ARCHITECTURES, EXPERTS, MASKED_MODELS


def print_architectures() -> None:
    """Print where the neurons of each known architecture are."""
    console = table_console()
    count = sum(len(row.model_types) for row in (*ARCHITECTURES, *MASKED_MODELS))
    console.print(
        f"The neurons of {count} architectures are found, and compared with a plain forward pass when a model is"
        " loaded. A model of another type is read too if its layers have one of these names, or where --ffn says."
    )
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("model_type", "down projection in a layer", "experts", "gated", "note"):
        table.add_column(name, overflow="fold")
    for row in (*ARCHITECTURES, *MASKED_MODELS):
        table.add_row(
            ", ".join(row.model_types),
            row.down_projection or "-",
            "yes" if row in EXPERTS else "no",
            "yes" if row.gated else "no",
            "masked language models" if row in MASKED_MODELS else row.note,
        )
    console.print(table)
