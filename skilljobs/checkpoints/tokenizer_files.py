"""Checking the files of a model's tokenizer, without torch and transformers and before anything starts."""

import json

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError

TOKENIZER = "tokenizer.json"
OTHER_PATTERNS = ("*.model", "vocab.json", "vocab.txt", "tekken.json")
"""Files that transformers makes a tokenizer from where there is no `tokenizer.json`."""
OBJECTS = ("tokenizer_config.json", "special_tokens_map.json")
"""Files beside it that hold a JSON object, if they are there."""


def check_tokenizer_files(source: ModelSource) -> None:
    """Refuse a model without a tokenizer, or with one that cannot be read.

    Raises:
        InputError: names the model, the file, and what is wrong.
    """
    for name in OBJECTS:
        _check_object(source, name)
    file = source.path / TOKENIZER
    if not file.is_file():
        if not any(any(source.path.glob(pattern)) for pattern in OTHER_PATTERNS):
            raise InputError(f"the model {source.name} has no tokenizer ({TOKENIZER}) in {source.path}")
        return
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more specific
        reason = "it is empty" if file.stat().st_size == 0 else str(error).partition("\n")[0]
        raise InputError(f"the model {source.name} has a damaged file {TOKENIZER}: {reason}") from error


def _check_object(source: ModelSource, name: str) -> None:
    file = source.path / name
    if not file.is_file():
        return
    try:
        stored = json.loads(file.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the model {source.name} has a damaged file {name}: it is not JSON: {error}") from error
    if not isinstance(stored, dict):
        raise InputError(f"the model {source.name} has a damaged file {name}: it is not a JSON object")
