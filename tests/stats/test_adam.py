import numpy as np
import torch

from skilljobs.stats.adam import DECAY, EPSILON, SQUARE_DECAY, adam_step


def test_it_takes_the_steps_of_torch() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 5)).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(values.copy()))
    optimizer = torch.optim.Adam([parameter], 0.03, betas=(DECAY, SQUARE_DECAY), eps=EPSILON)
    first, second = np.zeros_like(values), np.zeros_like(values)
    for step in range(1, 30):
        gradient = (random.normal(size=values.shape) * 10.0 ** random.integers(-9, 4)).astype(np.float32)
        rate = 0.03 / step
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        values, first, second = adam_step(values, first, second, gradient, step, rate)
        assert values.dtype == first.dtype == second.dtype == np.float32
        np.testing.assert_allclose(values, parameter.detach().numpy(), rtol=1e-5, atol=1e-6)
