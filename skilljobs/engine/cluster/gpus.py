"""The GPUs of this machine that torch can use. Imports torch when it is asked; imports no Ray."""

from typing import Any


def visible_gpus() -> tuple[list[Any], str]:
    """Their properties, as torch has them; where the driver shows some that torch cannot use none, and why."""
    import torch

    try:
        return [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())], ""
    except (RuntimeError, AssertionError) as error:
        return [], f" ({str(error).strip().partition(chr(10))[0]})"
