"""Intermediate values of a model: in the order asked for, and nothing kept in between."""

from __future__ import annotations

import torch
from torch import nn

from suite.models.watched import Watched


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Identity(), nn.Linear(4, 2))


def test_it_gives_the_output_and_what_the_named_modules_gave() -> None:
    inner, x = model(), torch.randn(5, 3)
    out, seen = Watched(inner, ["2", "0"])(x)
    assert torch.equal(out, inner(x))
    assert torch.equal(seen[0], out)
    assert torch.equal(seen[1], inner[0](x))
    assert seen[1].requires_grad


def test_outside_of_its_own_forward_it_keeps_nothing() -> None:
    inner = model()
    watched = Watched(inner, ["1"])
    inner(torch.randn(5, 3))
    assert watched._seen is None
    watched(torch.randn(5, 3))
    assert watched._seen is None


def test_two_watchers_of_one_model_do_not_meet() -> None:
    inner, x = model(), torch.randn(5, 3)
    first, second = Watched(inner, ["0"]), Watched(inner, ["1"])
    assert len(first(x)[1]) == len(second(x)[1]) == 1


def test_compiled_it_is_one_graph_with_the_same_values() -> None:
    watched, x = Watched(model(), ["0", "2"]), torch.randn(5, 3)
    compiled = torch.compile(watched, backend="eager", fullgraph=True)
    for expected, found in zip(watched(x)[1], compiled(x)[1], strict=True):
        torch.testing.assert_close(found, expected)
