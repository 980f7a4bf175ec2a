"""Merging a LoRA adapter into the weights of a model, through peft.

peft fills what an adapter's file lacks with its initial values, leaves out what does not match, and only warns. So what
was loaded is compared with the file, and the merged model with the model that has the adapter beside its weights.
"""

import warnings
from collections.abc import Mapping

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from skilljobs.checkpoints.adapter_files import ADAPTER_WEIGHTS, Adapter
from skilljobs.checkpoints.checkpoint import listed
from skilljobs.errors import InputError
from skilljobs.lm.memory import is_out_of_memory

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.2, torch.float16: 0.05}
"""Allowed difference of logits, relative to 1 + the largest."""
PROBED_IDS = 64


@torch.no_grad()  # not inference mode: gradients with respect to the prompt pass through the merged weights
def merge_adapter(model: PreTrainedModel, adapter: Adapter, name: str) -> PreTrainedModel:
    """The model called `name` with the adapter in its weights. `model` itself is changed.

    Raises:
        InputError: The adapter is not for this model, changes nothing in it, or cannot be merged; or its files changed.
    """
    from peft import PeftModel, get_peft_model_state_dict

    adapter.refuse_if_changed()
    stored = load_file(adapter.path / ADAPTER_WEIGHTS)
    what = f"the adapter {adapter.path}"
    if _is_zero(stored):
        raise InputError(f"{what} changes nothing: its weights are zero")
    ids = _probe(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they warn of is compared below
            beside = PeftModel.from_pretrained(model, str(adapter.path))
            loaded = get_peft_model_state_dict(beside, save_embedding_layers=False)
            _compare(stored, loaded, f"{what} does not fit the model {name}")
            wanted = beside.eval()(input_ids=ids, use_cache=False).logits.float()
            merged: PreTrainedModel = beside.merge_and_unload(safe_merge=True)
            found = merged.eval()(input_ids=ids, use_cache=False).logits.float()
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, NotImplementedError, OSError) as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()
        shown = next((line.strip() for line in reason if "size mismatch" in line), reason[0])
        raise InputError(f"{what} does not fit the model {name}: {shown}") from error
    difference = (found - wanted).abs().max().item()
    if not difference <= TOLERANCE.get(model.dtype, 1e-4) * (1 + wanted.abs().max().item()):
        raise InputError(
            f"{what} cannot be merged into the model {name}: its logits would differ by {difference:.3g} from"
            " those with the adapter beside the weights"
        )
    return merged


def _probe(model: PreTrainedModel) -> torch.Tensor:
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.arange(PROBED_IDS) * max(1, vocabulary // PROBED_IDS) % vocabulary
    return ids[None].to(model.get_input_embeddings().weight.device)


def _compare(stored: Mapping[str, torch.Tensor], loaded: Mapping[str, torch.Tensor], refusal: str) -> None:
    for problem, names in (
        ("the model has no place for", stored.keys() - loaded.keys()),
        ("its file lacks", loaded.keys() - stored.keys()),
        (
            "peft did not load",
            {n for n in stored.keys() & loaded.keys() if not _is_same(stored[n], loaded[n])},
        ),
    ):
        if names:
            raise InputError(f"{refusal}: {problem} {listed(sorted(names))}")


def _is_same(stored: torch.Tensor, loaded: torch.Tensor) -> bool:
    return stored.shape == loaded.shape and torch.equal(stored.to(loaded.dtype), loaded.cpu())


def _is_zero(stored: Mapping[str, torch.Tensor]) -> bool:
    """Whether the product of each pair of weights is zero, as when an adapter was never trained."""
    second = [tensor for name, tensor in stored.items() if "lora_B" in name or "lora_embedding_B" in name]
    others = [name for name in stored if "lora_" not in name]
    return bool(second) and not others and not any(bool(tensor.any()) for tensor in second)
