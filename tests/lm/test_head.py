"""The LM head in blocks of the vocabulary gives the same results as all logits at once."""

import pytest
import torch
from torch import nn

from skilljobs.errors import InputError
from skilljobs.lm import head as head_module
from skilljobs.lm.head import LMHead


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("bias", [False, True])
def test_log_probabilities_and_their_gradient_equal_those_of_all_logits(
    softcap: float | None, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(head_module, "SMALLEST_BLOCK", 7)
    monkeypatch.setitem(head_module.LOGITS_AT_ONCE, "cpu", 1)
    linear = nn.Linear(6, 50, bias=bias).requires_grad_(False)
    head = LMHead.of(linear, 0.5, softcap)
    hidden = (3 * torch.randn(5, 6)).requires_grad_(True)
    rows, targets = torch.tensor([4, 0, 0, 2, 4, 1]), torch.tensor([49, 0, 7, 6, 13, 49])
    logits = 0.5 * linear(hidden)
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    expected = logits.log_softmax(-1)[rows, targets]
    blockwise = head.log_probabilities(hidden, rows, targets)
    torch.testing.assert_close(blockwise, expected, atol=1e-6, rtol=1e-6)
    weights = torch.randn(6)
    (by_blocks,) = torch.autograd.grad((blockwise * weights).sum(), hidden)
    (at_once,) = torch.autograd.grad((expected * weights).sum(), hidden)
    torch.testing.assert_close(by_blocks, at_once, atol=1e-6, rtol=1e-5)


def test_extreme_logits_do_not_overflow() -> None:
    linear = nn.Linear(1, 600, bias=False).requires_grad_(False)
    linear.weight.copy_(torch.linspace(-1e4, 1e4, 600)[:, None])
    scores = LMHead.of(linear, 1.0, None).log_probabilities(
        torch.ones(1, 1), torch.tensor([0, 0]), torch.tensor([599, 0])
    )
    assert scores.tolist() == pytest.approx([0.0, -2e4])


def test_a_head_that_is_not_linear_is_refused() -> None:
    with pytest.raises(InputError, match="the LM head is Sequential"):
        LMHead.of(nn.Sequential(), 1.0, None)
