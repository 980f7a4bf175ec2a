"""Finding a LoRA adapter and checking its files, without torch and peft and before anything starts."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from skilljobs.checkpoints.safetensors_header import FLOATING_TYPES, checked_tensors, is_finite, read_header
from skilljobs.errors import InputError
from skilljobs.hashing import digest_of_files

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
INITS_THAT_KEEP_THE_BASE = (None, True, False, "gaussian", "eva", "orthogonal")
"""How an adapter may have begun. Others (PiSSA, OLoRA, LoftQ ...) also change the weights of the base model, which the
adapter's file does not hold."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter's directory on this machine, and the digest of its files when it was found."""

    path: Path
    digest: str

    def refuse_if_changed(self) -> None:
        """Refuse the adapter if its files are not here, or not those that were found.

        Raises:
            InputError: names it.
        """
        if find_adapter(str(self.path)).digest != self.digest:
            raise InputError(f"the adapter {self.path} is not the one that the job began with: its files differ")


def find_adapter(name: str) -> Adapter:
    """The adapter in the directory `name`.

    Raises:
        InputError: there is none, it is damaged, or of a kind that cannot be merged; or peft is not installed.
    """
    path = Path(os.path.expanduser(name))
    files = [path / ADAPTER_CONFIG, path / ADAPTER_WEIGHTS]
    for file in files:
        if not file.is_file():
            raise InputError(f"--adapter {name}: there is no {file.name} in that directory")
    for problem in (*_problems_of_config(files[0]), *_problems_of_weights(files[1])):
        raise InputError(f"--adapter {name}: {problem}")
    if find_spec("peft") is None:
        raise InputError("--adapter needs the package peft: pip install -c constraints.txt 'skilljobs[adapter]'")
    return Adapter(path, digest_of_files(files))


def _problems_of_config(file: Path) -> Iterator[str]:
    try:
        config: Any = json.loads(file.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        yield f"{file.name} is not JSON: {error}"
        return
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        yield f"it is an adapter of the kind {kind}, and only LORA is merged"
        return
    begun = config.get("init_lora_weights")
    if begun not in INITS_THAT_KEEP_THE_BASE:
        yield (
            f"it was begun with {begun!r}, which changes the base model too: convert it to plain LoRA"
            " (path_initial_model_for_weight_conversion of peft's save_pretrained)"
        )


def _problems_of_weights(file: Path) -> Iterator[str]:
    data = file.read_bytes()
    try:
        tensors = checked_tensors(read_header(data), len(data) - 8 - int.from_bytes(data[:8], "little"))
    except ValueError as error:
        yield f"{file.name} is damaged: {error}"
        return
    if not tensors:
        yield f"{file.name} holds no weights"
    for name, entry in tensors.items():
        if entry["dtype"] not in FLOATING_TYPES:
            yield f"{file.name} stores {name} as {entry['dtype']}, which is not floating-point"
        elif not is_finite(data, entry):
            yield f"{file.name} has values of {name} that are not finite"
