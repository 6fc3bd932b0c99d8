"""Initial scales of a whole model: weights from themselves, activations from one batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.slot import Slot, quantized_weights, slots
from suite.quant.bank import StepBank
from suite.quant.uniform import UniformQuantizer


@torch.no_grad()
def calibrate(
    model: nn.Module, images: Tensor, *, weights: bool = True, every: bool = False
) -> None:
    """Initialise every quantizer of `model` (without `weights`: the activations' alone).

    Weights come first. Then one forward of `images` [N, C, H, W] initialises the activation
    quantizers in the order in which data reaches them, each from inputs that the ones before it
    have already quantized (P1 code: lsq_layer.py:285-291). The model's mode is not changed.
    every: let step banks compute the step of every bit-width, not only of the one in use.
    """
    for _, weight, quantizer in quantized_weights(model) if weights else ():
        if every and isinstance(quantizer, StepBank):
            quantizer.initialise(weight, every=True)
        else:
            quantizer.initialise(weight)
    hooks = [
        slot.register_forward_pre_hook(_initialise)
        for slot in slots(model).values()
        if slot.kind == "activation" and slot.quantizer is not None
    ]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()


def _initialise(slot: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(slot, Slot)
    assert slot.quantizer is not None
    slot.quantizer.initialise(inputs[0])


@torch.no_grad()
def neglect_weights(model: nn.Module) -> None:
    """Leave every weight step at zero, to be floored in use.

    This is what the released code does on every process but the first: only that one sets the
    steps, after parameters have been broadcast (errata variation-B4).
    """
    for _, _, quantizer in quantized_weights(model):
        if isinstance(quantizer, StepBank):
            quantizer.alpha.zero_()
            quantizer.initialised = True
        elif isinstance(quantizer, UniformQuantizer):
            quantizer.step.zero_()


def head_shape(slot: Slot) -> tuple[int, ...]:
    """Shape of a scale with one entry a head, broadcastable against the slot's activation."""
    if slot.heads is None or slot.head_axis is None:
        return ()
    return (1,) * slot.head_axis + (slot.heads,) + (1,) * (3 - slot.head_axis)
