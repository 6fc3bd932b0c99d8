"""The optimizer of a recipe: adamw unless it says lamb, whose moves are those of its paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from suite.cell import Recipe, make_cell
from suite.errors import UsageError
from suite.optimize import optimizer_of, set_rate
from suite.recipes import recipe

RECIPE = Recipe(lr=0.1, weight_decay=0.0, optimizer="lamb")


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def step(model: nn.Module, chosen: Recipe, size: float) -> dict[str, torch.Tensor]:
    """What one step with a gradient of `size` everywhere adds to each parameter."""
    optimizer = optimizer_of(model, chosen)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, size)
    optimizer.step()
    return {name: p.detach() - before[name] for name, p in model.named_parameters()}


def test_a_recipe_says_adamw_by_default_and_its_cells_keep_their_ids() -> None:
    assert isinstance(optimizer_of(layer(), Recipe()), torch.optim.AdamW)
    assert "optimizer" not in make_cell(method="lsq", model="m", task="t").to_json()
    assert type(optimizer_of(layer(), recipe("fashion-qvit"))).__name__ == "Lamb"
    with pytest.raises(UsageError, match=r"'adamw'.*'lamb'"):
        recipe("fashion-qat", optimizer="lamp")


@pytest.mark.parametrize(
    "name", [f"{t}-qvit{s}" for t in ("fashion", "imagenet") for s in ("", "-scratch")]
)
def test_qvit_trains_with_the_epsilon_of_its_command_line(name: str) -> None:
    """Its first step is the rate times g / (g + eps): at 1e-8 all but the whole rate, at LAMB's
    own 1e-6 a tenth of it."""
    chosen = recipe(name)
    (group, *_) = optimizer_of(layer(), chosen).param_groups
    assert group["eps"] == 1e-8
    for eps, share in ((None, 0.91), (1e-6, 0.091)):
        used = chosen if eps is None else chosen.model_copy(update={"eps": eps})
        for moved in step(layer(), used, 1e-7).values():
            torch.testing.assert_close(
                moved / -chosen.lr, torch.full_like(moved, share), rtol=0.01, atol=0
            )


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_lamb_without_decay_is_adam_with_a_clipped_gradient(size: float) -> None:
    """The first step of Adam is the rate in the gradient's direction, whatever its size."""
    for moved in step(layer(), RECIPE, size).values():
        torch.testing.assert_close(moved, torch.full_like(moved, -0.1), rtol=0.01, atol=0)


def test_lamb_with_decay_scales_a_matrix_by_its_norm_and_a_bias_not() -> None:
    model = layer()
    norm = float(model.weight.detach().norm())
    moved = step(model, RECIPE.model_copy(update={"weight_decay": 1e-6}), 1e-3)
    assert float(moved["weight"].norm()) == pytest.approx(0.1 * norm, rel=0.01)
    assert moved["bias"].tolist() == pytest.approx([-0.1] * 3, rel=0.01)


def test_a_group_may_have_a_share_of_the_rate() -> None:
    optimizer = optimizer_of(layer(), Recipe())
    optimizer.param_groups[1]["lr_scale"] = 0.5
    set_rate(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]


def test_lamb_goes_on_from_its_saved_state() -> None:
    moves = []
    for interrupted in (False, True):
        model = layer()
        optimizer = optimizer_of(model, RECIPE)
        for number in range(4):
            if interrupted and number == 2:
                saved = optimizer.state_dict()
                optimizer = optimizer_of(model, RECIPE)
                optimizer.load_state_dict(saved)
            for parameter in model.parameters():
                parameter.grad = torch.cos(parameter.detach() * 7 + number)
            set_rate(optimizer, 0.1 / (number + 1))
            optimizer.step()
        moves.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*moves, strict=True))
