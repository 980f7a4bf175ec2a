"""A model without its weights, made of its configuration alone."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel

from skilljobs.checkpoints.source import ModelSource
from skilljobs.errors import InputError


def outline(source: ModelSource) -> PreTrainedModel:
    """The model without weights.

    Raises:
        InputError: transformers does not make one of the configuration.
    """
    family = AutoModelForMaskedLM if source.is_masked else AutoModelForCausalLM
    try:
        config = AutoConfig.from_pretrained(source.path, local_files_only=True)
        with torch.device("meta"):
            model: PreTrainedModel = family.from_config(config)
    except Exception as error:  # whatever a foreign configuration makes architectures raise
        raise InputError(f"the model {source.name} cannot be loaded: {error}") from error
    return model
