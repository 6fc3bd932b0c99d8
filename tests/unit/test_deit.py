"""DeiT: where its quantizers sit, that it is timm's model, and how its quantized step runs."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from suite.cell import make_cell
from suite.losses import soft_cross_entropy
from suite.method import Progress
from suite.models.catalog import DEIT_BASE, DEIT_PICO, DEIT_SMALL, DEIT_TINY
from suite.models.checkpoint import load_fp
from suite.models.deit import split_qkv
from suite.models.slot import QuantConv2d, QuantLinear, slots
from suite.registry import METHODS

SHALLOW = replace(DEIT_PICO, depth=1)
CELLS = [("lsq", ""), ("variation", "released"), ("variation", "corrected"), ("variation", "paper")]


def quantized(method: str, variant: str) -> tuple[nn.Module, Any, Tensor]:
    """A 2-bit model of one block, its method and eight images."""
    torch.manual_seed(0)
    cell = make_cell(
        method=method, variant=variant, model="deit_pico", task="fashion", w_bits=2, a_bits=2
    )
    model, chosen, images = SHALLOW.build(), METHODS.get(method)(cell), torch.randn(8, 1, 28, 28)
    chosen.place(model)
    chosen.calibrate(model, images)
    return model, chosen, images


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    return DEIT_TINY.build(drop_path=0.1)


def test_deit_tiny_has_74_weight_and_98_activation_slots(tiny: nn.Module) -> None:
    kinds = Counter(slot.kind for slot in slots(tiny).values())
    assert kinds == {"weight": 74, "activation": 98}


def test_slots_have_the_names_of_p1s_code(tiny: nn.Module) -> None:
    names = {name.removesuffix(".weight_slot"): slot.kind for name, slot in slots(tiny).items()}
    block = {
        **dict.fromkeys(["attn.proj_q", "attn.proj_k", "attn.proj_v", "attn.proj"], "weight"),
        **dict.fromkeys(["mlp.fc1", "mlp.fc2"], "weight"),
        **{f"attn.quant_{part}": "activation" for part in ("input", "q", "k", "v", "attn")},
        **dict.fromkeys(["attn.quant_output", "mlp.quant1", "mlp.quant2"], "activation"),
    }
    assert names == {
        "patch_embed.quant": "activation",
        "patch_embed.proj": "weight",
        **{f"blocks.{i}.{place}": kind for i in range(12) for place, kind in block.items()},
        "quant": "activation",
        "head": "weight",
    }


def test_the_ends_are_edges_and_probabilities_and_gelu_are_unsigned(tiny: nn.Module) -> None:
    found = slots(tiny)
    edges = {name.removesuffix(".weight_slot") for name, slot in found.items() if slot.edge}
    assert edges == {"patch_embed.quant", "patch_embed.proj", "quant", "head"}
    unsigned = {re.sub(r"\.\d+\.", ".i.", name) for name, slot in found.items() if not slot.signed}
    assert unsigned == {"blocks.i.attn.quant_attn", "blocks.i.mlp.quant2"}


def test_every_product_layer_has_a_slot(tiny: nn.Module) -> None:
    layers = [m for m in tiny.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(layers) == 74
    assert all(isinstance(layer, QuantLinear | QuantConv2d) for layer in layers)


@pytest.mark.parametrize("spec", [DEIT_TINY, DEIT_SMALL, DEIT_BASE], ids=lambda spec: spec.name)
def test_parameters_are_as_many_as_timms(spec: Any) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(spec.timm.split(".")[0], pretrained=False)
        ours = spec.build()
    count = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    assert count[0] == count[1]


def test_logits_are_timms_on_timms_weights(tiny: nn.Module) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("deit_tiny_patch16_224", pretrained=False).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    load_fp(tiny, theirs.state_dict(), source="timm")
    image = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected, found = theirs(image), tiny.eval()(image)
    assert expected.std() > 0.1
    assert (found - expected).abs().max() / expected.abs().max() < 1e-5


def test_the_fused_projection_is_split_by_rows() -> None:
    fused = torch.arange(18.0).reshape(9, 2)
    state = {"blocks.0.attn.qkv.weight": fused, "blocks.0.attn.qkv.bias": fused[:, 0], "x": fused}
    found = split_qkv(state)
    for letter, rows in zip("qkv", (slice(0, 3), slice(3, 6), slice(6, 9)), strict=True):
        assert torch.equal(found[f"blocks.0.attn.proj_{letter}.weight"], fused[rows])
        assert torch.equal(found[f"blocks.0.attn.proj_{letter}.bias"], fused[rows, 0])
    assert found["x"] is fused
    assert len(found) == 7


def test_norms_and_dropped_paths_are_those_of_p1(tiny: nn.Module) -> None:
    norms = [m for m in tiny.modules() if isinstance(m, nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) or 0.0 for block in tiny.blocks]
    assert rates == pytest.approx(torch.linspace(0, 0.1, 12).tolist())


def test_building_is_seeded_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (DEIT_PICO.build(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_gelu_is_clamped_only_when_asked_for() -> None:
    x = torch.full((1, 1, 64), 3.0)
    outputs = []
    for clamp in (False, True):
        mlp = SHALLOW.build(clamp_gelu=clamp).blocks[0].mlp
        mlp.fc2 = nn.Identity()
        torch.nn.init.ones_(mlp.fc1.weight)
        outputs.append(mlp(x).max().item())
    assert outputs[0] > 100
    assert outputs[1] == 1.0


class _Watch(TorchDispatchMode):
    """Notes every operation; names those that copy a value to the host."""

    SYNCS = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select")

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(func.overloadpacket.__name__)
        indices = args[1] if func.overloadpacket is torch.ops.aten.index else []
        if any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices):
            self.seen.add("nonzero")
        return func(*args, **(kwargs or {}))

    @property
    def syncs(self) -> set[str]:
        return self.seen & set(self.SYNCS)


def test_the_watch_sees_host_copies() -> None:
    with _Watch() as watch:
        x = torch.ones(3)
        _ = x[x > 0], bool(x.sum() > 0)
    assert watch.syncs == {"nonzero", "_local_scalar_dense"}


@pytest.mark.parametrize(("method", "variant"), CELLS)
def test_a_step_copies_nothing_to_the_host(method: str, variant: str) -> None:
    model, chosen, images = quantized(method, variant)
    targets = torch.full((8, 10), 0.1)
    with _Watch() as watch:
        loss = soft_cross_entropy(model(images), targets)
        penalty = chosen.penalty(model, Progress(epoch=9, epochs=10))
        (loss if penalty is None else loss + penalty).backward()
    assert "_softmax_backward_data" in watch.seen
    assert watch.syncs == set()


def test_attention_is_not_fused() -> None:
    """A fused kernel would hide the probabilities, which are quantized."""
    model, _, images = quantized("lsq", "")
    with _Watch() as watch:
        model(images)
    assert not [name for name in watch.seen if "attention" in name]
    assert "_softmax" in watch.seen


@pytest.mark.parametrize(("method", "variant"), CELLS[1:3])
def test_a_step_compiles_without_a_graph_break_and_equals_eager(method: str, variant: str) -> None:
    model, _, images = quantized(method, variant)
    targets = torch.eye(10)[:8]
    found = []
    torch._dynamo.reset()
    for net in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        logits = net(images)
        soft_cross_entropy(logits, targets).backward()
        found.append([logits.detach(), *(p.grad for p in model.parameters())])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-6)
