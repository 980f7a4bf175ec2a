"""One step of Adam on a few numbers, without torch: the process that drives a job takes it.

Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", arXiv 1412.6980.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
DECAY, SQUARE_DECAY = 0.9, 0.99
"""Of the running means of the gradient and of its square."""
EPSILON = 1e-12


def adam_step(
    values: Floats, first_moment: Floats, second_moment: Floats, gradient: Floats, step: int, learning_rate: float
) -> tuple[Floats, Floats, Floats]:
    """Return values and moments after step number `step`, the first of which is 1; all arrays have one shape."""
    first_moment = first_moment + np.float32(1 - DECAY) * (gradient - first_moment)
    second_moment = np.float32(SQUARE_DECAY) * second_moment + np.float32(1 - SQUARE_DECAY) * gradient * gradient
    size = learning_rate / (1 - DECAY**step)
    root = np.sqrt(second_moment) / np.float32(math.sqrt(1 - SQUARE_DECAY**step)) + np.float32(EPSILON)
    return np.subtract(values, np.float32(size) * (first_moment / root)), first_moment, second_moment
