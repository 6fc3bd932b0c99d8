"""What TernaryBERT and BinaryBERT share: narrow models, activation quantizers at the inputs of
layers, and distillation from an FP32 teacher in one stage or two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from suite.cell import Cell, make_cell
from suite.evaluate import BATCH
from suite.finished import check_teacher, finished_text
from suite.grid import FULL
from suite.method import Finished, Method, Progress, Settings, Stage
from suite.models.narrow import kept_heads, narrow
from suite.models.slot import Slot
from suite.models.text_inputs import bert_layers, open_inputs, pooler_of, readers
from suite.quant.batch_lsq import BatchLSQ
from suite.quant.calibration import calibrate
from suite.quant.clipped import ClippedUniform
from suite.quant.extremes import Extremes
from suite.recipes import recipe
from suite.text_distillation import Distilled, LogitRule, Open, Part

PARTS: dict[str, tuple[Part, ...]] = {
    "intermediate": ("attention", "hidden"),
    "prediction": ("logits",),
    "": ("logits", "attention", "hidden"),
}
"""What each stage learns from the teacher; the only one of a joint training everything."""

QKV = ("query", "key", "value")


class DistilledSettings(Settings):
    """stages: `two`, scores and hidden states first and logits then, or all `joint`ly.
    first_rate: learning rate of the first of two stages over the recipe's.
    teacher: the FP32 model of the `same` width as the student, or the `full` one.
    teacher_dropout: leave the teacher's dropout on, as BinaryBERT's code does.
    logit_mean: mean of the logit loss over `classes` and batch (BinaryBERT's code, TernaryBERT's
        at 2f43334 and 7a054c4) or over the `batch` (TernaryBERT's at 0af2589).
    rating_loss: logit loss where there is one output: `cross_entropy`, which is always 0, or `mse`.
    evaluation_range: dynamic ranges in evaluation: of the `batch` itself (code), or the `running`
        ones of training. With `batch` a prediction depends on the size of evaluation's batches.
    clip: clips of the 8-bit activations: `learned`, or `fixed` at 2.5.
    skewed: grid of FFN hidden values and attention probabilities: `asymmetric` or `symmetric`.
    """

    stages: Literal["two", "joint"] = "two"
    first_rate: float = 2.5
    teacher: Literal["same", "full"] = "same"
    teacher_dropout: bool = True
    logit_mean: Literal["classes", "batch"] = "classes"
    rating_loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    evaluation_range: Literal["batch", "running"] = "batch"
    clip: Literal["learned", "fixed"] = "learned"
    skewed: Literal["asymmetric", "symmetric"] = "asymmetric"


CORRECTED: dict[str, Any] = {
    "teacher": "full",
    "teacher_dropout": False,
    "logit_mean": "batch",
    "rating_loss": "mse",
    "evaluation_range": "running",
}


@dataclass(frozen=True)
class Teaching:
    """The teacher, and the heads of each of its layers that the student has (None: all)."""

    model: nn.Module
    heads: list[Tensor] | None


class DistilledText(Method):
    """Base of the methods: quantizers at 8 bits by dynamic range, at fewer by LSQ with ReLU in the
    FFN, and training on a teacher's scores, hidden states and logits alone.

    A narrow student starts from the FP32 cell of its own width, which is a cell like any other.

    weight_bits, activation_bits: the only ones that the method can do.
    """

    tasks = ("text",)
    Settings = DistilledSettings
    weight_bits: ClassVar[int]
    activation_bits: ClassVar[tuple[int, ...]]
    _classes = 1
    _teaching: Teaching | None = None
    _start: Finished | None = None
    _stage = ""
    _opened: tuple[Open, Open] | None = None

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        if cell.recipe.start != "fp32":
            raise self.refuse(
                "it is distilled from the FP32 cell of its task, so its recipe must start from fp32"
            )

    def _check_bits(self) -> None:
        cell = self.cell
        valid = {"weights": (self.weight_bits,), "activations": self.activation_bits}
        for what, bits in (("weights", cell.w_bits), ("activations", cell.a_bits)):
            if bits not in valid[what]:
                known = ", ".join(map(str, valid[what]))
                raise self.refuse(
                    f"{self.name} cannot quantize {what} to {bits} bits, only to {known}"
                )
        if cell.e_bits not in (None, self.weight_bits):
            raise self.refuse(
                "its word embeddings have the bits of its weights; leave out --e-bits"
            )

    @property
    def width(self) -> float:
        """Share of heads and FFN units that the student has."""
        return 1.0

    # What must be there

    def needs(self) -> Mapping[str, Cell]:
        if self.width == 1:
            return {}
        first = self.cell.recipe.fp32_seed
        return {
            "narrow": self.earlier(
                "narrow",
                method="fp32",
                settings={"width": self.width},
                w_bits=FULL,
                a_bits=FULL,
                seed=self.cell.seed if first is None else first,
            )
        }

    def earlier(self, role: str, **fields: Any) -> Cell:
        """The cell of the same model, task and seed that is `role` to this one, by the recipe that
        this one's names for it."""
        named = self.cell.recipe.before.get(role)
        if named is None:
            raise self.refuse(
                f"it rests on another cell, and its recipe does not say by which recipe that is "
                f"trained; give one with --recipe before='{{{role}=\"NAME\"}}'"
            )
        own = {"model": self.cell.model, "task": self.cell.task, "seed": self.cell.seed}
        return make_cell(**{**own, **fields, "recipe": recipe(named)})

    def receive(self, found: Mapping[str, Finished], classes: int, device: torch.device) -> None:
        """Take the teacher, and the narrow FP32 model that the student starts from."""
        full, same = found["fp32"], found.get("narrow", found["fp32"])
        chosen = full if self.settings.teacher == "full" else same
        check_teacher(chosen, self.cell.task, self.cell.model, classes)
        model = finished_text(chosen, classes)
        heads = None
        if chosen is full and self.width != 1:
            heads = [kept_heads(layer, self.width).to(device) for layer in bert_layers(model)]
        model.requires_grad_(False).train(self.settings.teacher_dropout).to(device)
        self._teaching = Teaching(model, heads)
        self._start = found.get("narrow")
        self._classes = classes

    # The quantized model

    def place(self, model: nn.Module) -> None:
        bert_layers(model)
        narrow(model, self.width)
        if self._start is not None:
            narrowed = finished_text(self._start, self._classes)
            model.load_state_dict(narrowed.state_dict())
        open_inputs(model)
        super().place(model)
        self.settle(model)

    def settle(self, model: nn.Module) -> None:
        """What goes with the activations' bits: ReLU below 8, and one look at what several read."""
        if self.cell.a_bits < 8:
            for layer in bert_layers(model):
                layer.intermediate.act = nn.ReLU()
        for slots in readers(model):
            shared = Extremes()
            for slot in slots:
                if slot.quantizer is not None:
                    slot.quantizer.extremes = shared

    def quantizer(self, slot: Slot) -> nn.Module | None:
        if slot.kind == "weight":
            role = slot.role.removesuffix("_weight")
            taken = role in (*QKV, "attn_out", "fc1", "fc2", "pooler", "word_embedding")
            return self.weight(rows=role == "word_embedding") if taken else None
        taken = slot.role in QKV or slot.role.endswith("_input")
        return self.activation(slot) if taken and self.cell.a_bits != FULL else None

    def weight(self, rows: bool) -> nn.Module:
        """The quantizer of a matrix, or of a table's rows."""
        raise NotImplementedError

    def activation(self, slot: Slot) -> nn.Module:
        s, bits = self.settings, self.cell.a_bits
        skewed = slot.role in ("fc2_input", "attn_probs_input") and s.skewed == "asymmetric"
        running = s.evaluation_range == "running"
        if bits < 8:
            return BatchLSQ(bits, symmetric=not skewed, running=running)
        return ClippedUniform(
            bits, symmetric=not skewed, learned=s.clip == "learned", running=running
        )

    def calibrate(self, model: nn.Module, inputs: Any, rank: int = 0) -> None:
        calibrate(model, inputs)

    # Training

    def stages(self) -> tuple[Stage, ...]:
        own = self.cell.recipe
        if self.settings.stages == "joint":
            return super().stages()
        first = own.model_copy(update={"lr": own.lr * self.settings.first_rate})
        return Stage("intermediate", first), Stage("prediction", own)

    def begin(self, stage: str, model: nn.Module) -> None:
        """The first of two stages leaves the pooler and the classifier alone."""
        self._stage = stage
        frozen = "logits" not in PARTS[stage]
        ends: list[nn.Module] = [pooler_of(model), model.get_submodule("classifier")]
        for end in ends:
            end.requires_grad_(not frozen)

    def around(self, model: nn.Module) -> nn.Module:
        if self._teaching is None:
            raise self.refuse("it cannot train before it received its teacher")
        if self._opened is None:
            taught = self._teaching
            self._opened = Open(model), Open(taught.model, taught.heads)
        rule = LogitRule(self.settings.logit_mean, self.settings.rating_loss)
        return Distilled(*self._opened, PARTS[self._stage], rule)

    def objective(self, net: nn.Module, inputs: Any, targets: Tensor, progress: Progress) -> Tensor:
        loss: Tensor = net(inputs)
        return loss

    def _activations(self) -> str:
        if self.cell.a_bits == FULL:
            return "fp32"
        clip = "learned" if self.settings.clip == "learned" else "fixed at 2.5"
        return "LSQ, a tensor" if self.cell.a_bits < 8 else f"dynamic, a tensor, clip {clip}"

    def _by_batch(self) -> bool:
        """Whether a text's outputs in evaluation depend on the batch it is in: every dynamic range
        of 8 bits does, below that the minimum of the asymmetric grids alone."""
        s, bits = self.settings, self.cell.a_bits
        ranges = bits != FULL and (bits >= 8 or s.skewed == "asymmetric")
        return ranges and s.evaluation_range == "batch"

    def protocol(self) -> dict[str, Any]:
        s, fewer = self.settings, self.cell.a_bits < 8
        return {
            "width": self.width,
            "activations": self._activations(),
            "ffn_and_probs": s.skewed,
            "ffn_activation": "relu" if fewer else "the model's own",
            "full_precision": "positions, segments, LayerNorm, classifier, scores, residuals",
            "teacher": f"FP32, {s.teacher} width, dropout {'on' if s.teacher_dropout else 'off'}",
            "stages": [stage.name or "joint" for stage in self.stages()],
            "hard_labels": "unused",
            "stage_end": "last pass (the code: best pass on the validation split)",
            "logit_loss": f"mean over {s.logit_mean}; one output: {s.rating_loss}",
            "evaluation_range": s.evaluation_range,
            **({"evaluation_batch": BATCH} if self._by_batch() else {}),
            "augmentation": "asked for" if self.cell.recipe.augment else "none",
        }
