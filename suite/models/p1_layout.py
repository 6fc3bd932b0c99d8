"""Quantized checkpoints in the layout of the P1 code.

A quantizer's entries lie beside the weight that it quantizes (`proj_q.alpha`), or under an
activation quantizer's own name (`quant_q.alpha`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.errors import EnvironmentProblem
from suite.models.slot import slots
from suite.quant.bank import StepBank

State = dict[str, Tensor]

BANK = ("alpha", "beta", "nbits", "init_state")
"""What the P1 code stores of a quantizer."""


def is_p1(state: State) -> bool:
    """Whether a state is a quantized one in P1's layout."""
    return any(name.endswith(".init_state") for name in state)


def from_p1(model: nn.Module, state: State) -> State:
    """The names of `state` as `model` has them; its slots hold step banks already.

    A bit-width that is not trained is the cell's and only checked: EnvironmentProblem if the
    checkpoint has another.
    """
    found = {name: value for name, value in state.items() if name.split(".")[-1] not in BANK}
    for place, own, bank in _banks(model):
        for entry in BANK:
            key = f"{place}.{entry}"
            if key in state:
                _check(state[key], key, f"{own}.{entry}" in state)
                _put(found, own, entry, state[key], bank, key)
    return found


def to_p1(model: nn.Module) -> State:
    """The model's weights and quantizers in P1's layout, sharing memory with the model."""
    found = {name: value for name, value in model.state_dict().items() if "quantizer." not in name}
    for place, _, bank in _banks(model):
        found[f"{place}.alpha"] = bank.alpha.detach()
        if bank.beta is not None:
            found[f"{place}.beta"] = bank.beta.detach()
        width = torch.tensor([float(bank.bits)]) if bank.nbits is None else bank.nbits.detach()
        found[f"{place}.nbits"] = width
        found[f"{place}.init_state"] = torch.tensor([float(bank.initialised)])
    return found


def p1_name(own: str) -> str:
    """P1's name of one of the suite's parameters."""
    return own.replace(".weight_slot.quantizer.", ".").replace(".quantizer.", ".")


def _banks(model: nn.Module) -> list[tuple[str, str, StepBank]]:
    """P1's name, the suite's name and the bank of every filled slot."""
    return [
        (name.removesuffix(".weight_slot"), f"{name}.quantizer", slot.quantizer)
        for name, slot in slots(model).items()
        if isinstance(slot.quantizer, StepBank)
    ]


def _check(value: Tensor, key: str, twice: bool) -> None:
    """Raise EnvironmentProblem unless an entry holds finite numbers and is there once."""
    if twice:
        raise EnvironmentProblem(
            f"The checkpoint holds {key} in P1's layout and in the suite's; keep one of them."
        )
    if value.layout != torch.strided or value.is_meta or value.is_complex() or not value.numel():
        raise EnvironmentProblem(
            f"The checkpoint's entry {key} holds no real numbers; save the model again."
        )
    if not value.float().isfinite().all():
        raise EnvironmentProblem(
            f"The checkpoint's entry {key} holds NaN or infinity; take one from before its "
            "training diverged."
        )


def _put(found: State, own: str, entry: str, value: Tensor, bank: StepBank, key: str) -> None:
    if entry == "init_state":
        found[f"{own}._extra_state"] = value.reshape(-1)[0].float() > 0
    elif entry == "nbits" and value.numel() != 1:
        raise EnvironmentProblem(
            f"The checkpoint has {value.numel()} bit-widths in {key}, one for each head; only "
            "checkpoints with one bit-width a tensor can be loaded."
        )
    elif entry == "nbits" and bank.nbits is None:
        if round(float(value)) != bank.bits:
            raise EnvironmentProblem(
                f"The checkpoint quantizes {key} to {float(value):g} bits, the cell to "
                f"{bank.bits}; ask for the cell of the checkpoint's bit-widths."
            )
    else:
        found[f"{own}.{entry}"] = value
