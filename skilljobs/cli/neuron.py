"""`skilljobs neuron`."""

from typing import TYPE_CHECKING

import click

from skilljobs.cli.options_once import OptionsOnce
from skilljobs.cli.run_names import run_argument
from skilljobs.cli.saying import say
from skilljobs.errors import InputError
from skilljobs.selection import NEURONS
from skilljobs.stats.neurons import NeuronName

if TYPE_CHECKING:
    from skilljobs.analysis.neuron_card import NeuronCard
    from skilljobs.store.reader import RunReader

TOKENS_SHOWN = 10


@click.command(cls=OptionsOnce)
@run_argument()
@click.argument("neuron_name", metavar="LAYER[/EXPERT]/NEURON")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def neuron(run: str, neuron_name: str, debug: bool) -> None:
    """Show the card of one neuron, which is everything that a run knows about it.

    A card has the neuron's r with every metric on both halves, and the tokens that it promotes and suppresses, computed
    from the weights alone. If the neuron is among the top neurons of a metric, the card also has its activation by
    group and the texts where its activation is highest and lowest.

    \b
    skilljobs neuron runs/RUN 12/407
    skilljobs neuron runs/RUN 12/63/407  # neuron 407 of expert 63
    """
    name = NeuronName.parse(neuron_name)
    from skilljobs.analysis.neuron_card import Cards
    from skilljobs.api import open_run
    from skilljobs.cli.printed_card import print_card

    opened = open_run(run)
    card = Cards(opened, [name]).card(name)
    print_card(card if card.promoted else _with_tokens(opened, card))


def _with_tokens(run: "RunReader", card: "NeuronCard") -> "NeuronCard":
    """Return the card of a neuron that was not traced with its tokens, which are computed from the model.

    A run that somebody else made may name any model: it is not downloaded, and it is loaded only if its files are those
    that the run used. If it is not at hand, print a note and return the card unchanged.
    """
    from dataclasses import replace

    from skilljobs.checkpoints.adapter_files import find_adapter
    from skilljobs.checkpoints.source import find_model
    from skilljobs.plan.chosen_model import check_quantizer

    record = run.prompts()[0].record
    spec = record.job_spec
    try:
        if spec.units != NEURONS:
            raise InputError(f"they are computed for neurons, and this run read {spec.units}")
        if spec.trust_remote_code:
            raise InputError("the run used code of its model, and reading a run runs no code")
        commit = None if spec.revision is None else record.model.commit
        source = find_model(str(spec.model), download=False, revision=commit)
        if source.digest != record.fingerprint.fields["model_digest"]:
            raise InputError(f"the model {source.name} is not the one that the run used")
        if spec.quantize is not None:
            check_quantizer(source, spec.quantize)
            source = replace(source, quantize=spec.quantize)
        if spec.adapter is not None:
            adapter = find_adapter(spec.adapter)
            if adapter.digest != record.fingerprint.fields["adapter_digest"]:
                raise InputError(f"the adapter {spec.adapter} is not the one that the run used")
            source = replace(source, adapter=adapter)
    except InputError as error:
        say(f"skilljobs: the tokens of this neuron are not known: {error}", err=True)
        return card
    from skilljobs.lm.load import load_model, load_tokenizer
    from skilljobs.lm.model import FrozenLM
    from skilljobs.lm.vocabulary import token_effects

    model = load_model(source, record.numerics.dtype if record.numerics else "float32", "cpu")
    lm = FrozenLM(model, load_tokenizer(source), record.job_spec.selection)
    effects = [(effect.token, effect.logit) for effect in token_effects(lm, [card.name], TOKENS_SHOWN)]
    return replace(card, promoted=effects[:TOKENS_SHOWN], suppressed=effects[TOKENS_SHOWN:])
