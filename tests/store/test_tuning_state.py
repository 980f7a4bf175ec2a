import math

import numpy as np
import pytest

from skilljobs.lm.prompt_file import prompt_bytes
from skilljobs.store.tuning_state import TuningState


def test_a_state_can_be_read_back() -> None:
    state = TuningState.start(np.arange(6, dtype=np.float32).reshape(2, 3))
    state.second_moment = np.divide(state.vectors, np.float32(3))
    state.step, state.losses, state.not_validated = 7, (0.1, 1 / 3, math.inf), ("row 1", "row 2")
    again = TuningState.from_bytes(state.to_bytes())
    for name, value in vars(state).items():
        assert np.array_equal(getattr(again, name), value), name
    assert again.gain_loss == math.inf
    assert type(again.step) is int


WHOLE = TuningState.start(np.zeros((2, 3), np.float32)).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PAR1" * 9,
        prompt_bytes(np.zeros((2, 3), np.float32), {"step": "3"}),
        WHOLE[:-10],
        WHOLE[:50],
        WHOLE.replace(b'"version":"2"', b'"version":"1"'),
    ],
    ids=["nothing", "another file", "a prompt", "without its end", "without its tensors", "of another version"],
)
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|whole state"):
        TuningState.from_bytes(data)
