"""The coverage audit: what bypasses a quantizer, or holds too many levels, is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.audit import audit, distinct
from suite.cell import make_cell
from suite.models.catalog import DEIT_PICO
from suite.models.slot import Slot, slots
from suite.quant.uniform import UniformQuantizer
from suite.registry import METHODS

IMAGES = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def slot(kind: Any, bits: int = 2) -> Slot:
    """A filled slot."""
    made = Slot("x", kind)
    made.quantizer = UniformQuantizer(bits, kind=kind)
    made.quantizer.initialise(torch.randn(200))
    return made


Product = Callable[["Net", Tensor, Tensor], Tensor]


class Net(nn.Module):
    """One product of an activation [6, 5] and a weight [5, 5], written as the test wants it."""

    def __init__(self, product: Product, bypass: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.act, self.weight_slot = slot("activation"), slot("weight")
        self.weight, self.bias = nn.Parameter(torch.randn(5, 5)), nn.Parameter(torch.randn(5))
        self.product, self.bypass = product, bypass

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_slot(self.weight)
        return self.product(self, self.act(x), self.weight if self.bypass else weight)


PRODUCTS: dict[str, Product] = {
    "linear": lambda net, a, w: F.linear(a, w, net.bias),
    "linear, keyword": lambda net, a, w: F.linear(a, weight=w, bias=net.bias),
    "linear, all keywords": lambda net, a, w: F.linear(input=a, weight=w),
    "matmul": lambda net, a, w: torch.matmul(a, w),
    "operator": lambda net, a, w: a @ w,
    "mm": lambda net, a, w: torch.mm(a, w),
    "mm, keyword": lambda net, a, w: torch.mm(a, mat2=w),
    "mv": lambda net, a, w: torch.mv(w, a[0]),
    "bmm": lambda net, a, w: torch.bmm(a.unsqueeze(0), w.unsqueeze(0)),
    "addmm": lambda net, a, w: torch.addmm(net.bias, a, w),
    "addmm of a tensor": lambda net, a, w: net.bias.addmm(a, w),
    "baddbmm": lambda net, a, w: torch.baddbmm(net.bias, a.unsqueeze(0), w.unsqueeze(0)),
    "einsum": lambda net, a, w: torch.einsum("ij,jk->ik", a, w),
    "einsum of a list": lambda net, a, w: torch.einsum("ij,jk->ik", [a, w]),
    "tensordot": lambda net, a, w: torch.tensordot(a, w, dims=1),
    "conv1d": lambda net, a, w: F.conv1d(a.unsqueeze(-1), w.unsqueeze(-1)),
    "conv2d": lambda net, a, w: F.conv2d(a.reshape(6, 5, 1, 1), w.reshape(5, 5, 1, 1)),
    "conv3d": lambda net, a, w: F.conv3d(a.reshape(6, 5, 1, 1, 1), w.reshape(5, 5, 1, 1, 1)),
    "attention's values": lambda net, a, w: F.scaled_dot_product_attention(
        a[None], a[None], w.repeat(2, 1)[:6][None] if net.bypass else a[None]
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_of_quantized_operands_is_fine(name: str) -> None:
    found = audit(Net(PRODUCTS[name], bypass=False), torch.randn(6, 5))
    assert found.ok, found.problems
    assert set(found.places) == {"act", "weight_slot"}


@pytest.mark.parametrize("name", PRODUCTS)
def test_an_operand_that_bypasses_its_quantizer_is_found(name: str) -> None:
    found = audit(Net(PRODUCTS[name], bypass=True), torch.randn(6, 5))
    assert not found.ok
    assert any("passes no quantizer" in problem for problem in found.problems)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "transpose": lambda w: w.transpose(0, 1),
    "t": lambda w: w.t(),
    "T": lambda w: w.T,
    "mT": lambda w: w.mT,
    "permute": lambda w: torch.permute(w, (1, 0)),
    "reshape and view": lambda w: w.reshape(25).view(5, 5),
    "flatten by keyword": lambda w: torch.flatten(input=w.unsqueeze(0), end_dim=1),
    "chunk": lambda w: w.chunk(2)[0].contiguous().expand(3, 5).transpose(0, 1),
    "index": lambda w: w[:, [0, 0, 1]],
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_a_quantized_tensor_counts_as_quantized(name: str) -> None:
    found = audit(Net(lambda net, a, w: a @ VIEWS[name](w), bypass=False), torch.randn(6, 5))
    assert found.ok, found.problems


CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda a, bias: a + bias,
    "sum in place": lambda a, bias: a.add_(bias),
    "product": lambda a, bias: a * bias,
    "activation": lambda a, bias: F.gelu(a),
    "norm": lambda a, bias: F.layer_norm(a, (5,)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_tensor_that_was_computed_with_after_its_quantizer_is_found(name: str) -> None:
    net = Net(lambda net, a, w: F.linear(CHANGES[name](a, net.bias), w), bypass=False)
    found = audit(net, torch.randn(6, 5))
    assert found.problems == ["an operand (6, 5) of linear passes no quantizer"]


class Loose(nn.Module):
    """Claims two bits and gives `levels` levels for each of its groups."""

    bits = 2

    def __init__(self, levels: int, groups: int) -> None:
        super().__init__()
        self.levels, self.groups = levels, groups

    def forward(self, x: Tensor) -> Tensor:
        codes = torch.arange(x.numel()).reshape(x.shape) % self.levels - 2.0
        return codes * torch.arange(1.0, 1 + self.groups).reshape(1, self.groups, 1)

    def per_group(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1).reshape(self.groups, -1)


class Pair(nn.Module):
    def __init__(self, quantizer: nn.Module) -> None:
        super().__init__()
        self.act, self.other = Slot("query", "activation"), Slot("key", "activation")
        self.act.quantizer = quantizer

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(x)
        return x @ self.other(x).transpose(-1, -2)


@pytest.mark.parametrize("groups", [1, 3])
def test_levels_are_counted_by_group(groups: int) -> None:
    fine = audit(Pair(Loose(4, groups)), torch.randn(2, groups, 40))
    assert fine.ok, fine.problems
    place = fine.places["act"]
    assert (place.bits, place.levels, place.negative, place.groups) == (2, 4, True, groups)
    assert fine.full_precision == ["other"]
    loose = audit(Pair(Loose(5, groups)), torch.randn(2, groups, 40))
    assert loose.problems == ["act has 5 levels where 2 bits allow 4"]


def model(method: str, **fields: Any) -> nn.Module:
    cell = make_cell(method=method, model="deit_pico", task="fashion", **fields)
    net, chosen = replace(DEIT_PICO, depth=1).build(), METHODS.get(method)(cell)
    chosen.place(net)
    chosen.calibrate(net, IMAGES)
    return net


def test_a_quantized_model_is_fine_and_every_slot_is_a_place() -> None:
    net = model("lsq", w_bits=3, a_bits=2)
    found = audit(net, IMAGES)
    assert found.ok, found.problems
    assert found.places.keys() == slots(net).keys()
    assert found.full_precision == []
    bits = {name: place.bits for name, place in found.places.items()}
    assert bits["blocks.0.attn.proj_q.weight_slot"] == 3
    assert bits["blocks.0.attn.quant_attn"] == 2
    assert bits["patch_embed.quant"] == bits["head.weight_slot"] == 8
    assert not found.places["blocks.0.attn.quant_attn"].negative
    assert all(place.levels <= 2**place.bits for place in found.places.values())


def test_steps_by_head_are_audited_by_head() -> None:
    net = model("variation", variant="corrected", w_bits=2, a_bits=2)
    found = audit(net, IMAGES)
    assert found.ok, found.problems
    assert found.places["blocks.0.attn.quant_q"].groups == 4
    assert found.places["blocks.0.mlp.quant1"].groups == 1
    heads = net.blocks[0].attn.quant_q
    assert distinct(heads(torch.randn(2, 4, 30, 16)).detach()) > 4


def test_a_quantizer_that_no_data_passes_is_found() -> None:
    net = model("lsq", w_bits=2, a_bits=2)
    net.spare = slot("activation")
    assert audit(net, IMAGES).problems == ["spare holds a quantizer that no data passes"]


def test_an_empty_slot_is_full_precision_and_no_problem() -> None:
    net = model("lsq", w_bits=2, a_bits=2)
    net.blocks[0].attn.quant_q.quantizer = None
    found = audit(net, IMAGES)
    assert found.ok
    assert found.full_precision == ["blocks.0.attn.quant_q"]


def test_the_model_is_left_as_it_was() -> None:
    net = model("lsq", w_bits=2, a_bits=2).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    audit(net, IMAGES)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(slot._forward_hooks for slot in slots(net).values())


def test_a_failing_model_is_left_without_hooks() -> None:
    net = model("lsq", w_bits=2, a_bits=2).train()
    with pytest.raises(RuntimeError):
        audit(net, torch.randn(2, 3, 5, 5))
    assert net.training
    assert not any(slot._forward_hooks for slot in slots(net).values())


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([], 0),
        ([0.5], 1),
        ([0.0, 0.0], 1),
        ([1.0, 1.0 + 1e-7], 1),
        ([1.0, 1.0 + 1e-5], 2),
        ([-1.0, 0.0, 1.0, 1.0], 3),
    ],
)
def test_distinct_forgives_a_last_bit(values: list[float], count: int) -> None:
    assert distinct(torch.tensor(values)) == count


def test_distinct_sees_a_level_that_is_rare_in_a_large_tensor() -> None:
    values = torch.zeros(200_003)
    values[100_001] = 1.0
    values[7] = -1.0
    assert distinct(values) == 3


def test_the_result_is_plain_data() -> None:
    content = audit(model("lsq", w_bits=2, a_bits=2), IMAGES).to_dict()
    assert content["ok"] is True
    assert set(content["places"]["head.weight_slot"]) == {"bits", "levels", "negative", "groups"}
