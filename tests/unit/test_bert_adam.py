"""BertAdam against its formula, and the groups that a recipe makes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from suite.bert_adam import BertAdam
from suite.cell import Recipe
from suite.optimize import optimizer_of, set_rate


def test_its_steps_are_the_formula() -> None:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(5))]
    expected = [p.detach().clone() for p in parameters]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    optimizer = BertAdam(parameters, lr=0.1, weight_decay=0.01)
    for size in (0.1, 10.0, 1.0):
        grads = [torch.randn_like(p) * size for p in parameters]
        for number, grad in enumerate(grads):
            clipped = grad * min(1.0, 1.0 / (float(grad.norm()) + 1e-6))
            m = 0.9 * moments[number][0] + 0.1 * clipped
            v = 0.999 * moments[number][1] + 0.001 * clipped**2
            moments[number] = m, v
            update = m / (v.sqrt() + 1e-6) + 0.01 * expected[number]
            expected[number] = expected[number] - 0.1 * update
            parameters[number].grad = grad
        optimizer.step()
    for parameter, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value)


def test_a_parameter_without_a_gradient_stays_where_it_is() -> None:
    moved, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = BertAdam([moved, still], lr=0.1, weight_decay=0.5)
    moved.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(still.detach(), torch.ones(2))
    assert not torch.equal(moved.detach(), torch.ones(2))


def test_its_state_can_be_saved_and_restored() -> None:
    def steps(optimizer: BertAdam, parameter: nn.Parameter, count: int) -> None:
        for number in range(count):
            parameter.grad = torch.full((3,), float(number + 1))
            optimizer.step()

    one, two = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    first, second = BertAdam([one], lr=0.1), BertAdam([two], lr=0.1)
    steps(first, one, 2)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    with torch.no_grad():
        two.copy_(one)
    steps(first, one, 2)
    steps(second, two, 2)
    assert torch.equal(one, two)


class Quantized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 2)
        self.slot = nn.Module()
        self.slot.quantizer = nn.Linear(1, 1, bias=False)


@pytest.mark.parametrize("name", ["adamw", "bertadam"])
def test_quantizers_can_have_a_learning_rate_of_their_own(name: str) -> None:
    recipe = Recipe(optimizer=name, lr=1e-5, quantizer_lr=1e-4, weight_decay=0.01)  # type: ignore[arg-type]
    optimizer = optimizer_of(Quantized(), recipe)
    set_rate(optimizer, 0.5e-5)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.5e-5, 0.5e-5, 0.5e-4])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0, 0.0]
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1, 1]


def test_without_one_they_share_the_weights() -> None:
    groups = optimizer_of(Quantized(), Recipe(optimizer="bertadam")).param_groups
    assert [len(group["params"]) for group in groups] == [1, 2]
