"""Q-ViT: information rectification and a distillation token (arXiv 2210.06707)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from suite.cell import Cell
from suite.finished import teacher
from suite.grid import fp32_cell
from suite.losses import guidance, task_loss, token_distillation
from suite.method import Finished, Method, Progress, Settings
from suite.models.deit import Attention, DistilledDeiT, Mlp
from suite.models.slot import Slot, quantized_weights
from suite.models.watched import Watched
from suite.quant.calibration import calibrate, head_shape
from suite.quant.uniform import UniformQuantizer
from suite.quant.zero_point import ZeroPointQuantizer
from suite.registry import model_spec

PER_HEAD = ("query", "key", "value", "attn_probs")
"""Roles of the activations that have one step a head; the others have one an input channel."""

QKV = ("query_weight", "key_weight", "value_weight")
"""Weights that are one matrix in the code, which counts and averages over all of it."""

GELU_BOUNDS = (-10.0, 10.0)
"""What GELU's output is clamped to before it is quantized (code: quant_vision_transformer:143)."""

SAME = ("classes", "image_size", "channels")
"""What a teacher's model must have in common with its student's."""

ALIKE = ("depth", "heads", "patch", "distilled")
"""What it must have as well for the similarities of q and k to be compared."""


class QViTSettings(Settings):
    """The parts of the method, each of which can be taken away.

    rectify (IRM): LayerNorm of every query and key over the channels of a head.
    distill: what the distillation token learns: the teacher's class (`hard`), its distribution
        (`soft`), or `none`: the heads' mean learns the labels and there is no teacher.
    dgd: distribution-guided distillation: similarities of q and k as the teacher's.
    teacher: model whose FP32 cell teaches; empty for the cell's own model.
    activation_scales: of a layer's input, one an input `channel`, which no integer product can
        carry, or one a `tensor`. Queries, keys, values and probabilities have one a head.
    zero_start: where a zero point starts: `released` or so that the `range` begins at its lowest
        code.
    counts: elements that a step's gradient is scaled by: of the whole `tensor` with the batch, as
        the code has it, or of the step's own `group` in one example.
    wraps_first: each process sets scales from its own batch after wrapping (code), or all have
        the same.
    edge_bits: bit-width of the patch embedding and both heads.
    """

    rectify: bool = True
    distill: Literal["hard", "soft", "none"] = "hard"
    dgd: bool = False
    teacher: str = ""
    activation_scales: Literal["channel", "tensor"] = "channel"
    zero_start: Literal["released", "range"] = "released"
    counts: Literal["tensor", "group"] = "tensor"
    wraps_first: bool = True
    edge_bits: int = Field(default=8, ge=2, le=8)


CORRECTED = {"zero_start": "range", "counts": "group", "wraps_first": False}


class QViT(Method):
    """Steps by output channel, input channel and head, integer zero points, rectified attention,
    and a distillation token that learns the full-precision model's class.

    `released` behaves as the authors' code does and is the variant that the golden values prove;
    its recipe trains from scratch, since no path of the code loads full-precision weights.
    `paper` adds distribution-guided distillation, which the release lacks. `corrected` mends what
    cannot have been meant. The errata qvit-1 to qvit-9 list every difference.
    """

    name = "qvit"
    summary = "fully quantized ViT: rectified q and k, channel-wise steps, distillation token"
    source = "Q-ViT, arXiv 2210.06707; code YanjingLi0202/Q-ViT"
    variants = {
        "released": {},
        "paper": {"dgd": True, "wraps_first": False},
        "corrected": CORRECTED,
    }
    Settings = QViTSettings
    _teacher: nn.Module | None = None

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        own = model_spec(cell.model)
        if not getattr(own, "distilled", False):
            raise self.refuse(
                f"it learns through a distillation token, which {cell.model} does not have; choose "
                "deit_tiny_distilled, deit_small_distilled or deit_pico_distilled"
            )
        other = model_spec(self.settings.teacher or cell.model)
        for name in (*SAME, *(ALIKE if self.settings.dgd else ())):
            theirs, ours = getattr(other, name, None), getattr(own, name)
            if theirs != ours:
                raise self.refuse(
                    f"the teacher {self.settings.teacher} has {name} {theirs} where {cell.model} "
                    f"has {ours}; choose a teacher of the same task and shape"
                )

    @property
    def taught(self) -> bool:
        """Whether anything is learned from a teacher."""
        learns = self.settings.distill != "none" or self.settings.dgd
        return bool(learns and self.cell.recipe.epochs)

    @property
    def calibrates_before_wrapping(self) -> bool:
        return not self.settings.wraps_first

    def needs(self) -> Mapping[str, Cell]:
        if not self.taught:
            return {}
        own = {"fp32": fp32_cell(self.cell)}
        if not self.settings.teacher:
            return own
        other = self.cell.model_copy(update={"model": self.settings.teacher})
        return {**own, "teacher": fp32_cell(other)}

    def receive(self, found: Mapping[str, Finished], classes: int, device: torch.device) -> None:
        if self.taught:
            self._teacher = teacher(found.get("teacher", found["fp32"]), classes, device)

    def place(self, model: nn.Module) -> None:
        if not isinstance(model, DistilledDeiT):
            raise self.refuse("it quantizes image models with a distillation token alone")
        self.prepare(model)
        super().place(model)

    def prepare(self, model: nn.Module) -> None:
        """Put the normalisations of q and k and the bounds of GELU's output into every block."""
        for module in model.modules():
            if isinstance(module, Attention) and self.settings.rectify:
                width = module.proj.in_features // module.heads
                module.q_norm, module.k_norm = nn.LayerNorm(width), nn.LayerNorm(width)
            if isinstance(module, Mlp):
                module.bounds = GELU_BOUNDS

    def quantizer(self, slot: Slot) -> nn.Module:
        s, weight = self.settings, slot.kind == "weight"
        bits = self.cell.w_bits if weight else self.cell.a_bits
        bits = s.edge_bits if slot.edge else bits
        whole = "qkv" if slot.role in QKV else "tensor"
        factor = "lsq" if s.counts == "group" else whole
        if weight:
            return UniformQuantizer(
                bits,
                kind=slot.kind,
                scale_shape=slot.channel_shape,
                grad_factor=factor,
                init="tensor",
            )
        return ZeroPointQuantizer(
            bits, scale_shape=self._shape(slot), counts=factor, zero_start=s.zero_start
        )

    def _shape(self, slot: Slot) -> tuple[int, ...]:
        if slot.role in PER_HEAD:
            return head_shape(slot)
        return slot.channel_shape if self.settings.activation_scales == "channel" else ()

    @torch.no_grad()
    def calibrate(self, model: nn.Module, images: Tensor, rank: int = 0) -> None:
        """Weights first; q, k and v from their common mean, as they are one layer in the code."""
        for _, weight, quantizer in quantized_weights(model):
            quantizer.initialise(weight)
        for module in model.modules():
            if isinstance(module, Attention):
                parts = (module.proj_q, module.proj_k, module.proj_v)
                joint = torch.cat([part.weight for part in parts])
                for part in parts:
                    part.weight_slot.quantizer.initialise(joint)
        calibrate(model, images, weights=False)

    def around(self, model: nn.Module) -> nn.Module:
        if self._teacher is None:
            return model
        assert isinstance(model, DistilledDeiT)
        return Pupil(model, self._teacher, watch=self.settings.dgd)

    def objective(self, net: nn.Module, inputs: Any, targets: Tensor, progress: Progress) -> Tensor:
        if not self.taught:
            return super().objective(net, inputs, targets, progress)
        seen: Lesson = net(inputs)
        heads, kind = seen.heads, self.settings.distill
        if kind == "none":
            loss = task_loss((heads[0] + heads[1]) / 2, targets)
        else:
            loss = token_distillation(*heads, targets, seen.teacher, kind)
        return loss + guidance(seen.own, seen.others) if self.settings.dgd else loss

    def protocol(self) -> dict[str, Any]:
        s = self.settings
        return {
            "edge_bits": s.edge_bits,
            "granularity": f"output channel (weights), head (attention), {s.activation_scales} "
            "(layer inputs)",
            "integer_product": "no: a step an input channel cannot be taken out of the sum"
            if s.activation_scales == "channel"
            else "yes: a step a tensor, zero points in the bias",
            "gelu_output": "clamped to +-10",
            "attn_probs": "sign by the first batch",
            "scale_init": f"2*mean|v|/sqrt(Qp) of the tensor, zero point {s.zero_start}; from "
            "calibration images, where the code takes its first training batch",
            "scale_floor": "1e-5; the code has none",
            "rectification": "LayerNorm of q and k" if s.rectify else "none",
            "distillation": f"{s.distill} through the token, mean of both heads evaluated",
            "teacher": (s.teacher or self.cell.model) if self.taught else "none",
            "dgd": "as far as known: similarity token by token, Frobenius norm, weight 1; the "
            "paper's equation 2.22 was not at hand in full"
            if s.dgd
            else "none",
        }


class Lesson(NamedTuple):
    """One batch as student and teacher see it: the student's two logits, the teacher's, and, where
    they are compared, q and k of both, layer by layer."""

    heads: tuple[Tensor, Tensor]
    teacher: Tensor
    own: list[Tensor]
    others: list[Tensor]


class Pupil(nn.Module):
    """A student beside its teacher. forward(images) -> Lesson."""

    def __init__(self, model: DistilledDeiT, of: nn.Module, watch: bool) -> None:
        super().__init__()
        places = [
            f"blocks.{i}.attn.{part}" for i in range(len(model.blocks)) for part in NORMS if watch
        ]
        self.student = Watched(TwoHeads(model), [f"model.{place}" for place in places])
        self.teacher = Watched(of, places)

    def forward(self, images: Tensor) -> Lesson:
        heads, own = self.student(images)
        with torch.no_grad():
            answer, others = self.teacher(images)
        return Lesson(heads, answer, own, others)


NORMS = ("q_norm", "k_norm")
"""Where q and k come out rectified; in a teacher, as they are."""


class TwoHeads(nn.Module):
    """A distilled DeiT's two logits."""

    def __init__(self, model: DistilledDeiT) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.heads(self.model.forward_features(images))


METHOD = QViT
