"""The GPUs of this machine that torch can use. Torch is imported when they are asked for."""

from typing import Any


def visible_gpus() -> tuple[list[Any], str]:
    """Their properties, as torch gives them. If torch cannot use those that the driver shows: none, and the reason."""
    import torch

    try:
        return [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())], ""
    except (RuntimeError, AssertionError) as error:
        return [], f" ({str(error).strip().partition(chr(10))[0]})"
