"""Q-ViT: where its parts sit, what its losses are, and which teachers it takes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.qvit import QViT
from suite.audit import audit
from suite.cell import Recipe, make_cell
from suite.errors import UsageError
from suite.grid import fp32_cell
from suite.losses import guidance, token_distillation
from suite.method import Progress
from suite.models.catalog import DEIT_PICO, DEIT_PICO_DISTILLED, DEIT_TINY_DISTILLED
from suite.models.checkpoint import load_fp
from suite.models.deit import DistilledDeiT
from suite.models.slot import slots
from suite.runner import method_of as accepted
from suite.runner import needs
from tests.unit.embedded_models import own_loss, receive

IMAGES = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(8)
RECIPE = Recipe(epochs=1, fp32_recipe="fashion-fp32")


def method_of(variant: str = "released", **fields: Any) -> QViT:
    fields = {"w_bits": 3, "a_bits": 3, "recipe": RECIPE, **fields}
    cell = make_cell(
        method="qvit", model="deit_pico_distilled", task="fashion", variant=variant, **fields
    )
    return QViT(cell)


def calibrated(method: QViT) -> DistilledDeiT:
    model = DEIT_PICO_DISTILLED.build()
    method.place(model)
    method.calibrate(model.eval(), IMAGES)
    assert isinstance(model, DistilledDeiT)
    return model


# The distilled model


def test_the_distilled_model_is_timms_with_two_heads() -> None:
    torch.manual_seed(0)
    name = "deit_tiny_distilled_patch16_224"
    theirs = timm.create_model(name, pretrained=False, depth=2).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    ours = replace(DEIT_TINY_DISTILLED, depth=2).build().eval()
    load_fp(ours, theirs.state_dict(), source="timm")
    image = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected, found = theirs(image), ours(image)
        theirs.set_distilled_training(True)
        both = theirs.train()(image)
        for mine, other in zip(ours.heads(ours.forward_features(image)), both, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)
    assert (found - expected).abs().max() / expected.abs().max() < 1e-5


# Placement


def test_steps_follow_channels_and_heads() -> None:
    found = {
        re.sub(r"blocks\.\d+\.", "", name): tuple(slot.quantizer.step.shape)
        for name, slot in slots(calibrated(method_of())).items()
    }
    assert found == {
        "patch_embed.quant": (1, 1, 1),
        "patch_embed.proj.weight_slot": (64, 1, 1, 1),
        "attn.quant_input": (64,),
        **{f"attn.proj_{c}.weight_slot": (64, 1) for c in "qkv"},
        "attn.proj.weight_slot": (64, 1),
        **{f"attn.quant_{part}": (1, 4, 1, 1) for part in ("q", "k", "v", "attn")},
        "attn.quant_output": (1, 4, 1, 16),
        "mlp.quant1": (64,),
        "mlp.fc1.weight_slot": (256, 1),
        "mlp.quant2": (256,),
        "mlp.fc2.weight_slot": (64, 1),
        **dict.fromkeys(("quant", "quant_dist"), (64,)),
        **{f"{name}.weight_slot": (10, 1) for name in ("head", "head_dist")},
    }


def test_the_ends_have_8_bits() -> None:
    found = slots(calibrated(method_of()))
    edges = {name for name, slot in found.items() if slot.quantizer.bits == 8}
    assert edges == {
        "patch_embed.quant",
        "patch_embed.proj.weight_slot",
        *(f"{head}.weight_slot" for head in ("head", "head_dist")),
        "quant",
        "quant_dist",
    }


def test_one_step_a_tensor_is_for_layer_inputs_alone() -> None:
    found = slots(calibrated(method_of(settings={"activation_scales": "tensor"})))
    shapes = {
        slot.role: tuple(slot.quantizer.step.shape)
        for slot in found.values()
        if slot.kind == "activation"
    }
    heads = {"query", "key", "value", "attn_probs"}
    assert {role for role, shape in shapes.items() if shape == ()} == shapes.keys() - heads
    assert {shapes[role] for role in heads} == {(1, 4, 1, 1)}


@pytest.mark.parametrize("bits", [2, 8])
def test_every_product_is_quantized(bits: int) -> None:
    report = audit(calibrated(method_of(w_bits=bits, a_bits=bits)), IMAGES)
    assert report.ok, report.problems
    assert report.full_precision == []


def test_q_and_k_are_normalised_over_a_heads_channels_and_v_is_not() -> None:
    model = calibrated(method_of())
    seen: dict[str, Tensor] = {}
    attention = model.blocks[1].attn
    for name in ("quant_q", "quant_k", "quant_v"):
        attention.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: seen.__setitem__(name, inputs[0].detach())
        )
    model(IMAGES)
    for name in ("quant_q", "quant_k"):
        assert seen[name].mean(dim=-1).abs().max() < 1e-5
        assert (seen[name].var(dim=-1, unbiased=False) - 1).abs().max() < 0.2
    assert seen["quant_v"].mean(dim=-1).abs().max() > 1e-3
    assert attention.q_norm.weight.shape == (16,)


def test_gelus_output_is_clamped_before_its_quantizer() -> None:
    model = calibrated(method_of())
    mlp = model.blocks[0].mlp
    seen: list[Tensor] = []
    mlp.quant2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        mlp.fc1.bias.fill_(30.0)
        model(IMAGES)
    assert float(seen[0].max()) == 10.0


def test_q_k_and_v_start_from_their_common_mean() -> None:
    attention = calibrated(method_of()).blocks[0].attn
    parts = [attention.proj_q, attention.proj_k, attention.proj_v]
    mean = torch.cat([part.weight for part in parts]).abs().mean().detach()
    for part in parts:
        steps = part.weight_slot.quantizer.step.detach()
        torch.testing.assert_close(steps, torch.full_like(steps, 2 * mean / 3**0.5))


# Losses


def test_half_is_learned_from_labels_and_half_from_the_teachers_class() -> None:
    cls, dist, teacher = (torch.randn(6, 10) for _ in range(3))
    y = torch.arange(6)
    hard = token_distillation(cls, dist, y, teacher)
    expected = 0.5 * F.cross_entropy(cls, y) + 0.5 * F.cross_entropy(dist, teacher.argmax(1))
    torch.testing.assert_close(hard, expected)


def test_guidance_is_zero_for_the_same_similarities_and_ignores_their_size() -> None:
    q = torch.randn(2, 3, 5, 4)
    turned = q @ torch.linalg.qr(torch.randn(4, 4))[0]  # the same products of tokens
    assert float(guidance([q], [3 * turned])) < 1e-5
    other = torch.randn(2, 3, 5, 4)
    apart = []
    for row in range(2):
        for head in range(3):
            pair = [x[row, head] @ x[row, head].T for x in (q, other)]
            apart.append((pair[0] / pair[0].norm() - pair[1] / pair[1].norm()).norm())
    torch.testing.assert_close(guidance([q, q], [other, q]), torch.stack(apart).sum() / 2)


def test_guidance_of_equal_tensors_has_a_finite_gradient() -> None:
    q = torch.randn(1, 2, 3, 4, requires_grad=True)
    guidance([q], [q.detach()]).backward()
    assert torch.isfinite(q.grad).all()


def test_the_method_learns_these_losses() -> None:
    method = method_of("paper")
    model = calibrated(method)
    loss = own_loss(method, model, IMAGES, TARGETS)
    assert method._teacher is not None
    with torch.no_grad():
        heads = model.heads(model.forward_features(IMAGES))
        expected = token_distillation(*heads, TARGETS, method._teacher(IMAGES))
    plain = method_of("released")
    without = own_loss(plain, model, IMAGES, TARGETS)
    torch.testing.assert_close(without, expected)
    assert loss > without


def test_guidance_compares_every_layers_q_and_k() -> None:
    method = method_of("paper")
    model = calibrated(method)
    receive(method)
    lesson = method.around(model)(IMAGES)
    assert len(lesson.own) == len(lesson.others) == 8
    assert {tuple(x.shape) for x in (*lesson.own, *lesson.others)} == {(8, 4, 18, 16)}
    assert all(x.requires_grad for x in lesson.own)
    assert not any(x.requires_grad for x in lesson.others)


def test_a_student_that_is_its_teacher_agrees() -> None:
    """Without quantizers and normalisation, the similarities are the teacher's own."""
    method = method_of("paper")
    receive(method)
    assert isinstance(method._teacher, DistilledDeiT)
    lesson = method.around(DEIT_PICO_DISTILLED.build(seed=7).eval())(IMAGES)
    assert guidance(lesson.own, lesson.others).item() < 1e-4


def test_the_compiled_objective_is_the_eager_one() -> None:
    """The teacher's forward and what is watched are part of the one graph."""
    method, spec = method_of("paper"), replace(DEIT_PICO_DISTILLED, depth=1)
    model, method._teacher = spec.build(), spec.build(seed=7).eval().requires_grad_(False)
    method.place(model)
    method.calibrate(model.eval(), IMAGES)
    losses, gradients = [], []
    for net in (
        method.around(model),
        torch.compile(method.around(model), backend="aot_eager", fullgraph=True),
    ):
        model.zero_grad()
        losses.append(method.objective(net, IMAGES, TARGETS, Progress(0, 1)))
        losses[-1].backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(losses[1], losses[0])
    for found, expected in zip(*gradients[::-1], strict=True):
        torch.testing.assert_close(found, expected)


def test_the_teacher_is_not_part_of_the_model() -> None:
    method = method_of()
    model = calibrated(method)
    names = set(model.state_dict())
    own_loss(method, model, IMAGES, TARGETS).backward()
    assert set(model.state_dict()) == names
    assert method._teacher is not None
    assert all(p.grad is None and not p.requires_grad for p in method._teacher.parameters())
    assert not method._teacher.training


# What is needed, and what is refused


def test_the_teacher_is_a_need_even_from_scratch() -> None:
    cell = method_of(recipe=RECIPE.model_copy(update={"start": "scratch"})).cell
    assert needs(cell) == {"fp32": fp32_cell(cell)}
    untaught = method_of(settings={"distill": "none"}, recipe=Recipe(start="scratch", epochs=1))
    assert needs(untaught.cell) == {}


def test_another_models_fp32_cell_may_teach() -> None:
    cell = method_of(settings={"teacher": "deit_pico"}).cell
    assert {role: need.model for role, need in needs(cell).items()} == {
        "fp32": "deit_pico_distilled",
        "teacher": "deit_pico",
    }
    method = method_of(settings={"teacher": "deit_pico"})
    receive(method)
    assert not isinstance(method._teacher, DistilledDeiT)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "deit_pico"}, "does not have; choose deit_tiny_distilled"),
        ({"model": "deit_pico", "bits": 1}, "it can do 2, 3"),
        ({"settings": {"teacher": "deit_small_distilled"}}, "has classes 1000 where .* has 10"),
        ({"settings": {"teacher": "deit_pica"}}, "Did you mean 'deit_pico'"),
        ({"settings": {"teacher": "bert_pico"}}, "the teacher bert_pico has classes None"),
        ({"settings": {"teacher": "deit_pico", "dgd": True}}, "has distilled False"),
        ({"settings": {"edge_bits": 1}}, "edge_bits"),
        ({"bits": 1}, "it can do 2, 3"),
        ({"bits": 9}, "it can do 2, 3"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(fields: dict[str, Any], said: str) -> None:
    bits = fields.pop("bits", 3)
    words = {"model": "deit_pico_distilled", **fields}
    with pytest.raises(UsageError, match=said) as caught:
        accepted(
            make_cell(
                method="qvit",
                task="fashion",
                variant="released",
                w_bits=bits,
                a_bits=bits,
                recipe=RECIPE,
                **words,
            )
        )
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_model_without_a_distillation_token_is_refused() -> None:
    for model in (DEIT_PICO.build(), nn.Linear(2, 2)):
        with pytest.raises(UsageError, match="with a distillation token alone"):
            method_of().place(model)
