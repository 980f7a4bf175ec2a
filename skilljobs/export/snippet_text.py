"""Python programs that read exported neurons with other libraries, and compare them with what the run stored.

A program is made of the texts in `snippets/`, which are the same for all runs, and of constants between them. What
comes from a run is in the constants alone, each a literal of ASCII characters (`ascii`), so that no name, path or id
can become code.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from skilljobs.errors import InputError
from skilljobs.export.exported_neurons import ExportedNeurons
from skilljobs.store.files import Folder
from skilljobs.store.record import RunRecord
from skilljobs.store.run import prompt_uri

LIBRARIES = {
    "hooks": ("hooks of plain transformers", "torch transformers safetensors pyarrow"),
    "nnsight": ("nnsight", "torch transformers safetensors pyarrow nnsight"),
    "transformerlens": ("TransformerLens", "torch transformers safetensors pyarrow transformer-lens"),
}
"""By format: what the program reads neurons with, and the packages that it needs."""
_IMPORTS = {
    "hooks": "",
    "nnsight": "from nnsight import NNsight\n",
    "transformerlens": "from transformer_lens.model_bridge import TransformerBridge\n",
}
IN_TRANSFORMER_LENS = frozenset(
    (
        "Apertus", "Arcee", "BitNet", "Bloom", "CodeGen", "Cohere", "Cohere2", "Ernie4_5", "Exaone4", "Falcon",
        "GPT2LMHeadModel", "GPTBigCode", "GPTJ", "GPTNeo", "GPTNeoX", "Gemma", "Gemma2", "Gemma3", "Glm", "Glm4",
        "Granite", "HunYuanDenseV1", "Jais2", "Lfm2", "Llama", "Ministral3", "Mistral", "ModernBertDecoder", "Mpt",
        "NanoChat", "Nemotron", "OPT", "Olmo", "Olmo2", "Olmo3", "Phi", "Phi3", "Qwen2", "Qwen3", "SeedOss",
        "SmolLM3", "StableLm", "Starcoder2", "VaultGemma", "XGLM", "Youtu",
    )
)  # fmt: skip
"""Architectures (`...ForCausalLM`) whose neurons TransformerLens 4.3 reads at `blocks.LAYER.mlp.out`, as
`python -m tests.export.test_programs` found."""
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.01}
"""Allowed difference of an activation from the stored one, relative to 1 + the stored one."""
COMPARED_EXAMPLES = 8
_PLACES_ALONE = "--format csv gives the places alone"


def snippet(form: str, record: RunRecord, folder: Folder, neurons: ExportedNeurons) -> str:
    """The text of a program that reads `neurons` of the run in `folder`.

    Raises:
        InputError: what the run did cannot be done so; gives the reason.
    """
    _refuse_neurons(form, record.job_spec.ffn, neurons)
    masked = neurons.source.is_masked
    family = "AutoModelForMaskedLM" if masked else "AutoModelForCausalLM"
    library, packages = LIBRARIES[form]
    head = _part("head").format(library=library, packages=packages, form=form, family=family)
    body = "".join(map(_part, ("masked" if masked else "causal", form, "foot"))).replace("FAMILY", family)
    constants = "".join(f"{name} = {value!a}\n" for name, value in _constants(record, neurons).items())
    return f"{head}{_IMPORTS[form]}\n{_place(folder)}{constants}{_neurons(form, neurons)}{_part('model')}{body}"


def _constants(record: RunRecord, neurons: ExportedNeurons) -> Mapping[str, Any]:
    assert record.numerics is not None  # of a run that has correlations
    spec, commit = record.job_spec, neurons.source.revision
    return {
        "MODEL": str(neurons.source.path) if commit is None else neurons.source.name,
        "REVISION": commit,
        "DTYPE": record.numerics.dtype,
        "ATTENTION": record.numerics.attention,
        "TOKENS": spec.tokens,
        "OPENING": [] if spec.chat else list(neurons.modules.opening),
        "TOLERANCE": TOLERANCE.get(record.numerics.dtype, 1e-4),
        "COMPARED_EXAMPLES": COMPARED_EXAMPLES,
    }


def _place(folder: Folder) -> str:
    """Where the run is, as pyarrow opens it."""
    if folder.is_local:
        return f"RUN = {folder.root!a}\nFILES, ROOT = fs.LocalFileSystem(), RUN\n"
    return f"RUN = {folder.uri!a}\nFILES, ROOT = fs.FileSystem.from_uri(RUN)\n"


def _neurons(form: str, neurons: ExportedNeurons) -> str:
    in_lens = form == "transformerlens"
    lines = [f"NEURONS = [\n    # {'hook' if in_lens else 'module'}, layer, expert, index, prompt position\n"]
    for row in neurons.rows.iter_rows(named=True):
        name = f"blocks.{row['layer']}.mlp.out.hook_in" if in_lens else row["module"]
        lines.append(f"    {(name, row['layer'], row['expert'], row['neuron'], row['token'])!a},\n")
    return "".join([*lines, "]\n"])


def _part(name: str) -> str:
    return (files("skilljobs.export") / "snippets" / f"{name}.txt").read_text(encoding="utf-8")


def refuse_run(form: str, record: RunRecord, folder: Folder) -> None:
    """Refuse a run whose model or soft prompt a program cannot make again.

    Raises:
        InputError: gives the reason.
    """
    spec = record.job_spec
    if spec.prompts > 1:
        raise InputError(
            f"--format {form}: the run {record.run_id} has {spec.prompts} soft prompts, and neurons are read at one:"
            f" export one of its runs, {prompt_uri(folder.uri, 0)} and so on"
        )
    for is_so, what in (
        (spec.adapter is not None, "merged an adapter into the weights (--adapter)"),
        (spec.quantize is not None, f"quantized the weights (--quantize {spec.quantize})"),
    ):
        if is_so:
            raise InputError(
                f"--format {form}: the run {record.run_id} {what}, and a program would read the model without that;"
                f" {_PLACES_ALONE}"
            )


def _refuse_neurons(form: str, pattern: str | None, neurons: ExportedNeurons) -> None:
    """Refuse neurons that a program in this format cannot read."""
    option, architecture = f"--format {form}", neurons.modules.architecture
    if form == "transformerlens" and pattern is not None:
        raise InputError(
            f"{option}: the run named its down projections (--ffn {pattern}), and TransformerLens has its own"
        )
    has_experts = neurons.rows["expert"].is_not_null().any()
    if has_experts and form != "hooks":
        raise InputError(
            f"{option}: some of the neurons are in experts, which transformers computes in one module, where"
            f" {LIBRARIES[form][0]} has no place for each: --format hooks reads them"
        )
    if has_experts and neurons.modules.scaled_before:
        raise InputError(
            f"{option}: the router of a {architecture} weighs what experts read, which no program here does;"
            f" {_PLACES_ALONE}"
        )
    if form == "transformerlens" and architecture.removesuffix("ForCausalLM") not in IN_TRANSFORMER_LENS:
        raise InputError(
            f"{option}: where TransformerLens reads the neurons of a {architecture} was not tried:"
            " use --format hooks or nnsight"
        )
