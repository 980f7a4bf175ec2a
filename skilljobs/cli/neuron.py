"""`skilljobs neuron`."""

from typing import TYPE_CHECKING

import click

from skilljobs.errors import InputError

if TYPE_CHECKING:
    from skilljobs.analysis.neuron_card import NeuronCard
    from skilljobs.store.reader import RunReader

TOKENS_SHOWN = 10


@click.command()
@click.argument("run")
@click.argument("place", metavar="LAYER/NEURON")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def neuron(run: str, place: str, debug: bool) -> None:
    """Show all that a run knows of one neuron, its card.

    Its r with every metric on both halves; if it is among the top neurons of a metric, its activation by group and the
    texts where it is highest and lowest; and the tokens that it promotes and suppresses, from weights alone.

    \b
    skilljobs neuron runs/RUN 12/407
    """
    layer, _, number = place.partition("/")
    if not (layer.isdigit() and number.isdigit()):
        raise InputError(f"{place!r} is not a neuron: name it LAYER/NEURON, both counted from 0")
    from skilljobs.analysis.neuron_card import Cards
    from skilljobs.api import open_run
    from skilljobs.cli.printed_card import print_card

    opened = open_run(run)
    card = Cards(opened, [(int(layer), int(number))]).card(int(layer), int(number))
    print_card(card if card.promoted else _with_tokens(opened, card))


def _with_tokens(run: "RunReader", card: "NeuronCard") -> "NeuronCard":
    """The card of a neuron that was not traced: its tokens are read from the model, where that is to be had."""
    from dataclasses import replace

    from skilljobs.lm.source import find_model

    record = run.prompts()[0].record
    try:
        source = find_model(record["spec"]["model"])
        if source.digest != record["fingerprint"]["fields"]["model_digest"]:
            raise InputError(f"the model {source.name} is not the one that the run read")
    except InputError as error:
        click.echo(f"skilljobs: its tokens are not known: {error}", err=True)
        return card
    from skilljobs.lm.load import load_model, load_tokenizer
    from skilljobs.lm.model import FrozenLM
    from skilljobs.lm.vocabulary import token_effects

    lm = FrozenLM(load_model(source, record["numerics"]["dtype"], "cpu"), load_tokenizer(source))
    effects = [(e.token, e.logit) for e in token_effects(lm, [(card.layer, card.neuron)], TOKENS_SHOWN)]
    return replace(card, promoted=effects[:TOKENS_SHOWN], suppressed=effects[TOKENS_SHOWN:])
