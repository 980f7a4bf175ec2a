"""Finding a model's files from its name, without importing torch or transformers."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skilljobs.checkpoints.adapter_files import ADAPTER_CONFIG, Adapter
from skilljobs.checkpoints.hub import fetch
from skilljobs.errors import InputError
from skilljobs.hashing import digest_of_files, sampled_digest
from skilljobs.spec import TINY

TINY_DIRECTORY = Path(__file__).parents[1] / "lm" / "tiny" / "weights"
CAUSAL, MASKED = ("CausalLM", "LMHeadModel"), "ForMaskedLM"
"""How the names of the classes end that transformers has for causal and for masked language models."""
COUNTED_FROM_PADDING = frozenset(
    ("camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm",
     "xlm-roberta", "xlm-roberta-xl", "xmod")
)  # fmt: skip
"""Architectures whose first position has the number behind that of the padding token."""
_PATTERNS = ("*.safetensors", "*.json", "*.model", "*.txt")
_CODE = "*.py"


@dataclass(frozen=True)
class ModelSource:
    """A model's directory on this machine, and its configuration."""

    name: str
    path: Path
    config: dict[str, Any]
    revision: str | None = None
    """The commit that was fetched, if the model is from the Hugging Face hub."""
    trust_remote_code: bool = False
    """Whether code in the model's directory may be run."""
    adapter: Adapter | None = None
    """What is merged into the weights once they are loaded."""
    quantize: str | None = None
    """`8bit` or `4bit`: what the weights are quantized to while they are loaded."""

    @property
    def is_masked(self) -> bool:
        """Whether it is a masked language model, which gives its answer at a mask token."""
        return any(name.endswith(MASKED) for name in self._architectures)

    @property
    def _architectures(self) -> list[str]:
        """The names of the classes that the configuration says it is for."""
        names = self.config.get("architectures") or []
        return [str(name) for name in (names if isinstance(names, list) else [names])]

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, configuration, tokenizer, and code that may be run; an adapter has its own digest."""
        return digest_of_files(self._files)

    @property
    def sampled_digest(self) -> str:
        """Digest of the files' sizes and of parts spread over each file, which distinguishes models without reading
        them completely."""
        return sampled_digest(self._files)

    @property
    def _files(self) -> set[Path]:
        """The files of weights, configuration and tokenizer, and of code that may be run."""
        patterns = (*_PATTERNS, _CODE) if self.trust_remote_code else _PATTERNS
        return {file for pattern in patterns for file in self.path.glob(pattern)}

    @property
    def weight_files(self) -> list[Path]:
        """The weight files that transformers loads; a repository may hold the same weights in other files as well.

        Raises:
            InputError: The index of the files is damaged, or names a file that is not there.
        """
        single = self.path / "model.safetensors"
        if not self._index:
            return [single] if single.is_file() else sorted(self.path.glob("*.safetensors"))
        files = [self.path / name for name in sorted(set(self._index.values()))]
        for file in files:
            if not file.is_file():
                raise InputError(f"the model {self.name} lacks the weight file {file.name}, which its index names")
        return files

    @property
    def indexed_tensors(self) -> set[str]:
        """The names of all weights, as the index of a model in several files gives them; empty for a single file."""
        return set(self._index)

    @property
    def _index(self) -> dict[str, str]:
        """The file of each weight; empty if there is no index."""
        file = self.path / "model.safetensors.index.json"
        if (self.path / "model.safetensors").is_file() or not file.is_file():
            return {}
        try:
            return {str(tensor): str(name) for tensor, name in json.loads(file.read_bytes())["weight_map"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"the model {self.name} has a damaged file {file.name}: {error}") from None

    @property
    def context(self) -> int | None:
        """The largest number of positions, or None if the configuration does not say."""
        positions = self._number("max_position_embeddings", "n_positions")
        if positions is None or self.config.get("model_type") not in COUNTED_FROM_PADDING:
            return positions
        padding = self.config.get("pad_token_id", 1)
        return positions - (padding if isinstance(padding, int) else 1) - 1

    @property
    def layers(self) -> int | None:
        """The number of layers, or None if the configuration does not say."""
        return self._number("num_hidden_layers", "n_layer", "n_layers")

    @property
    def width(self) -> int | None:
        """d_model, or None if the configuration does not say."""
        return self._number("hidden_size", "n_embd", "dim")

    @property
    def heads(self) -> int | None:
        """The number of attention heads of a layer, or None if the configuration does not say."""
        return self._number("num_attention_heads", "n_head", "n_heads")

    @property
    def neurons(self) -> int | None:
        """The number of FFN neurons in all layers, or None if the configuration does not say."""
        widths = self.config.get("intermediate_size")
        if isinstance(widths, list) and all(isinstance(width, int) for width in widths):
            return sum(widths) or None
        per_layer = self._number("intermediate_size", "ffn_dim", "n_inner", "hidden_dim")
        per_layer = per_layer or (4 * self.width if self.width else None)
        return self.layers * per_layer if self.layers and per_layer else None

    @property
    def cached_width(self) -> int | None:
        """The width of a token's keys in one layer, which is also that of its values; None if the configuration does
        not say."""
        heads = self.heads
        head_width = self._number("head_dim") or (self.width / heads if self.width and heads else None)
        shared = self._number("num_key_value_heads") or heads
        return int(shared * head_width) if shared and head_width else self.width

    def _number(self, *names: str) -> int | None:
        """The first of these numbers in the configuration that is there and not 0.

        Raises:
            InputError: it is not a positive whole number.
        """
        name = next((name for name in names if self.config.get(name)), None)
        if name is None:
            return None
        number = self.config[name]
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise InputError(
                f"the configuration of the model {self.name} has {name} = {number!r}, which is not a whole number"
            )
        return number


def find_model(
    name: str, download: bool = True, revision: str | None = None, trust_remote_code: bool = False
) -> ModelSource:
    """Return the model called `name`: `tiny`, a local directory, or an id on the Hugging Face hub.

    A model on the hub is downloaded if necessary; without `download`, it is taken from the local cache alone.
    `revision` is the branch, tag or commit on the hub, by default its main branch. With `trust_remote_code`, code in
    the model's directory is part of the model.

    Raises:
        InputError: There is no such model, or it is no causal or masked language model in transformers format.
    """
    path, commit = TINY_DIRECTORY if name == TINY else Path(os.path.expanduser(name)), None
    if os.path.isdir(path):
        if revision is not None:
            raise InputError(
                f"--revision {revision} is for models on the Hugging Face hub, and {name} is on this machine"
            )
    else:
        path = fetch(name, _fetched(trust_remote_code), revision, download)
        commit = path.name
    if (path / ADAPTER_CONFIG).is_file():  # transformers would load the model that this names
        raise InputError(f"the model {name} holds an adapter ({ADAPTER_CONFIG}): give its base model to --model")
    config_file = path / "config.json"
    if not config_file.is_file():
        raise InputError(f"the model {name} has no config.json in {path}: it is not in transformers format")
    try:
        config = json.loads(config_file.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the configuration of the model {name}, {config_file}, is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"the configuration of the model {name}, {config_file}, is not a JSON object")
    source = ModelSource(name, path, config, commit, trust_remote_code)
    _refuse_other_kinds(source)
    if not any(path.glob("*.safetensors")):
        raise InputError(f"the model {name} has no weights (*.safetensors) in {path}")
    if trust_remote_code:
        _refuse_code_elsewhere(source)
    return source


def _refuse_other_kinds(source: ModelSource) -> None:
    """Refuse what is neither a causal nor a masked language model."""
    architectures = source._architectures
    kind = f"the model {source.name} is a {', '.join(architectures) or 'model of unnamed architecture'}"
    if source.config.get("is_encoder_decoder"):
        raise InputError(
            f"{kind}, an encoder-decoder: its text and its answer are read by two stacks, and a soft prompt stands in"
            " one sequence with both"
        )
    if not any(name.endswith((*CAUSAL, MASKED)) for name in architectures):
        raise InputError(f"{kind}, neither a causal nor a masked language model")


def _refuse_code_elsewhere(source: ModelSource) -> None:
    """Refuse a model whose code is in another repository: it would not be in the digest, and might change."""
    entries = source.config.get("auto_map") or {}
    named = entries.values() if isinstance(entries, dict) else [entries]
    elsewhere = next((str(place) for place in named if "--" in str(place)), None)
    if elsewhere is not None:
        raise InputError(
            f"the model {source.name} names code in another repository ({elsewhere}): copy that code into the model's"
            " directory to use it"
        )


def _fetched(trust_remote_code: bool) -> tuple[str, ...]:
    return (*_PATTERNS, "*.jinja", *((_CODE,) if trust_remote_code else ()))


def find_again(source: ModelSource) -> ModelSource:
    """Find on this machine a model that was found on another one.

    For a model on the hub, it is the same commit, downloaded if necessary.

    Raises:
        InputError: The model is not available on this machine.
    """
    if source.revision is None:
        found = find_model(source.name, trust_remote_code=source.trust_remote_code)
        return replace(found, adapter=source.adapter, quantize=source.quantize)
    return replace(source, path=fetch(source.name, _fetched(source.trust_remote_code), source.revision))
