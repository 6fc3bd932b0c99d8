"""Variation-aware QAT of vision transformers (Quantization Variation, arXiv 2307.00331, P1)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from suite.method import Method, Progress, Settings
from suite.models.modules import roles_of
from suite.models.slot import Slot
from suite.quant.bank import StepBank
from suite.quant.binary import BinaryActivation, BinaryWeight
from suite.quant.bins import bin_weight, model_bin_penalty
from suite.quant.calibration import calibrate, head_shape, neglect_weights
from suite.quant.tracking import Oscillations
from suite.quant.uniform import UniformQuantizer

PER_HEAD = ("query", "key", "value", "attn_probs", "attn_output")
"""Roles of the activations that get one scale a head under head-wise quantization."""


class VariationSettings(Settings):
    """The parts of the method, each of which can be taken away.

    module_dependent (MDQ): gradient factors from the L1 norm of each weight module, and initial
        steps by least squares; without it, LSQ's for both.
    distill (MCKD): multi-crop training on a teacher's stored soft labels.
    regularise (OBR): the oscillation-aware bin regulariser.
    quantizer: `bank`, the released quantizer bit for bit, or `uniform`, one step a group.
    head_wise: one scale for each attention head (needs `uniform`).
    offset: a learned offset on every activation but the attention probabilities; the GELU
        output always has one.
    bins: `vanishing` loses the bins that a float comparison misses, as the code does; `all`.
    bin_norm: `mean` squared distance to the bin centre (code) or its `l2` norm (text).
    calibration: images that set the initial activation scales.
    wraps_first: set scales on the first rank only, after wrapping (code) or before.
    train_bits: let the optimizer move the bit-widths (code: --mixpre).
    edge_bits: bit-width of the first and the last layer.
    leave_out: modules (`attention`, `mlp`) or roles kept in FP32, comma-separated: P1's
        sensitivity study.
    oscillation: follow how often weights jump back and forth, for the record alone.
    """

    module_dependent: bool = True
    distill: bool = True
    regularise: bool = True
    quantizer: Literal["bank", "uniform"] = "bank"
    head_wise: bool = False
    offset: bool = False
    bins: Literal["vanishing", "all"] = "vanishing"
    bin_norm: Literal["mean", "l2"] = "mean"
    calibration: Literal["train", "validation"] = "validation"
    wraps_first: bool = True
    train_bits: bool = False
    edge_bits: int = Field(default=8, ge=2, le=8)
    leave_out: str = ""
    oscillation: bool = False


CORRECTED = {
    "quantizer": "uniform",
    "head_wise": True,
    "bins": "all",
    "calibration": "train",
    "wraps_first": False,
}


class Variation(Method):
    """Module-dependent quantization, multi-crop distillation and a bin regulariser.

    `released` behaves as the authors' code does, defects included, and is the variant that the
    golden values prove. `corrected` mends what cannot have been meant. `paper` differs from it
    where the text does. tables/errata/variation.toml lists every difference.
    """

    name = "variation"
    summary = "variation-aware QAT: module-dependent scales, multi-crop distillation, OBR"
    source = "Quantization Variation, arXiv 2307.00331; code HuangOwen/Quantization-Variation"
    bits = range(1, 9)
    variants = {"released": {}, "corrected": CORRECTED, "paper": {**CORRECTED, "bin_norm": "l2"}}
    Settings = VariationSettings
    _oscillations: Oscillations | None = None

    def _check_bits(self) -> None:
        super()._check_bits()
        one_bit = self.cell.w_bits == 1, self.cell.a_bits == 1
        if any(one_bit) and not (all(one_bit) and self.settings.quantizer == "bank"):
            raise self.refuse("1 bit needs weights and activations at 1 and variant 'released'")
        if self.settings.head_wise and self.settings.quantizer == "bank":
            raise self.refuse(
                "head_wise needs quantizer 'uniform': the released per-head code leaves its "
                "activations unquantized (errata variation-B1)"
            )
        if not self.settings.module_dependent and self.settings.quantizer == "bank":
            raise self.refuse("module_dependent=false needs quantizer 'uniform'")
        if self.settings.train_bits and self.settings.quantizer == "uniform":
            raise self.refuse("train_bits needs quantizer 'bank'")
        if self.settings.oscillation and self.cell.w_bits == 1:
            raise self.refuse("oscillation is counted in codes, which need 2 bits or more")
        self._left_out = roles_of(self.settings.leave_out)

    @property
    def soft_labels(self) -> bool:
        return bool(self.settings.distill)

    @property
    def calibration_split(self) -> str:
        return str(self.settings.calibration)

    @property
    def calibrates_before_wrapping(self) -> bool:
        return not self.settings.wraps_first

    def place(self, model: nn.Module) -> None:
        super().place(model)
        if self.settings.oscillation:
            self._oscillations = Oscillations(model)
            # In the model, so that its checkpoints hold it.
            model.add_module("oscillations", self._oscillations)

    def quantizer(self, slot: Slot) -> nn.Module | None:
        if slot.role in self._left_out:
            return None
        bits = self.cell.w_bits if slot.kind == "weight" else self.cell.a_bits
        bits = self.settings.edge_bits if slot.edge else bits
        if bits == 1:
            return BinaryWeight() if slot.kind == "weight" else BinaryActivation()
        build = self._bank if self.settings.quantizer == "bank" else self._uniform
        return build(slot, bits)

    def _has_offset(self, slot: Slot) -> bool:
        if slot.kind == "weight" or slot.role == "attn_probs" or slot.role == "patch_input":
            return False
        return slot.role == "mlp_hidden" or bool(self.settings.offset)

    def _bank(self, slot: Slot, bits: int) -> StepBank:
        kind = "conv" if slot.role == "patch_weight" else slot.kind
        return StepBank(
            bits,
            kind=kind,
            signed=slot.signed,
            offset=self._has_offset(slot),
            train_bits=self.settings.train_bits,
        )

    def _uniform(self, slot: Slot, bits: int) -> UniformQuantizer:
        weight = slot.kind == "weight"
        factor = ("l1" if weight else "p1_activation") if self.settings.module_dependent else "lsq"
        start = ("mse" if weight else "p1_activation") if self.settings.module_dependent else "lsq"
        return UniformQuantizer(
            bits,
            kind=slot.kind,
            signed=slot.signed,
            scale_shape=self._head_shape(slot),
            offset=self._has_offset(slot),
            grad_factor=factor,
            init=start,
        )

    def _head_shape(self, slot: Slot) -> tuple[int, ...]:
        per_head = self.settings.head_wise and slot.role in PER_HEAD
        return head_shape(slot) if per_head else ()

    def calibrate(self, model: nn.Module, images: Tensor, rank: int = 0) -> None:
        """Set steps from the weights and `images`; ranks after the first keep theirs at zero."""
        if rank == 0:
            calibrate(model, images, every=self.settings.train_bits)
        else:
            neglect_weights(model)
            calibrate(model, images, weights=False)

    def objective(self, net: nn.Module, inputs: Any, targets: Tensor, progress: Progress) -> Tensor:
        if self._oscillations is not None:
            self._oscillations.update()
        return super().objective(net, inputs, targets, progress)

    @property
    def diagnosis(self) -> dict[str, Any]:
        found = self._oscillations
        return {} if found is None else {"oscillation": found.figures()}

    def penalty(self, model: nn.Module, progress: Progress) -> Tensor | None:
        """OBR (P1, section on the bin regulariser), weighted by its cosine schedule."""
        if not self.settings.regularise:
            return None
        weight = bin_weight(progress.epoch, progress.epochs)
        if weight == 0.0:
            return None
        return weight * model_bin_penalty(
            model, vanish=self.settings.bins == "vanishing", norm=self.settings.bin_norm
        )

    def protocol(self) -> dict[str, Any]:
        s = self.settings
        return {
            "edge_bits": s.edge_bits,
            "granularity": "head (attention), tensor (rest)" if s.head_wise else "tensor",
            "gelu_output": "unsigned with offset",
            "attn_probs": "unsigned",
            "scale_init": "least squares (weights), 2*mean|x|/sqrt(Qp) (activations)"
            if s.module_dependent
            else "2*mean|v|/sqrt(Qp)",
            "calibration_split": s.calibration,
            "distillation": "multi-crop soft labels" if s.distill else "none",
            "bin_regulariser": f"{s.bins} bins, {s.bin_norm}" if s.regularise else "none",
            **({"left_out": s.leave_out} if s.leave_out else {}),
        }


METHOD = Variation
