"""What a quantization method is to the suite: the base class of baselines/ and methods/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from suite.cell import Cell, Recipe, validated
from suite.errors import UsageError, unknown

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from suite.models.slot import Slot


class Settings(BaseModel):
    """Base of a method's typed settings; unknown keys are answered with the valid ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Progress:
    """Where training stands. epoch: nominal index of the running pass; epochs: their total;
    stage: name of the running stage ("" where a cell has one alone)."""

    epoch: int
    epochs: int
    stage: str = ""


@dataclass(frozen=True)
class Stage:
    """A part of a cell's training with an objective, a schedule and a checkpoint of its own.

    name: "" where there is one alone. recipe: how it trains; the data are the cell's.
    """

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Finished:
    """A cell that another one needed, and the file of its finished weights."""

    cell: Cell
    weights: Path


class Draw(Protocol):
    """A cell's calibration data: batches of model inputs that its seed draws, on its device."""

    @property
    def limits(self) -> tuple[float, float] | None:
        """Smallest and largest rating, if the task predicts ratings."""

    def batch(self, split: str) -> Any:
        """One batch of the recipe's `calibration_images` samples of a split."""

    def batches(self, size: int, count: int) -> list[Any]:
        """`count` batches of `size` training samples, drawn without repetition."""

    def advance(self, done: int, total: int) -> None:
        """Show that `done` of `total` parts of a long calibration are behind us."""


class Method:
    """One quantization method. A subclass is one file; the defaults here do nothing.

    A method sees models, tensors and its cell; it knows nothing of pytest, SLURM or tables.

    name: registered name, equal to the file's.
    version: part of every cell id; raise it when the numbers a method gives change.
    summary: one line for `lowbit list`.
    source: paper and, if any, the repository it follows.
    tasks: modalities it can work on (`image`, `text`).
    bits: bit-widths it can do, for weights and activations (32: it leaves them alone).
    variants: name -> settings that the variant stands for; the first is the default.
    Settings: the type of its settings.
    grid: entries as in suite/grids, without `method`, for a method that none of those files has.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    summary: ClassVar[str]
    source: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ("image",)
    bits: ClassVar[range | tuple[int, ...]] = range(2, 9)
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}}
    Settings: ClassVar[type[Settings]] = Settings
    grid: ClassVar[tuple[Mapping[str, Any], ...]] = ()

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        if cell.variant not in self.variants:
            raise unknown(f"variant of {self.name}", cell.variant, self.variants)
        chosen = {**self.variants[cell.variant], **cell.settings}
        self.settings: Any = validated(self.Settings, chosen, f"{self.name} setting")
        self._check_bits()

    def _check_bits(self) -> None:
        for which, bits in (("weights", self.cell.w_bits), ("activations", self.cell.a_bits)):
            if bits not in self.bits:
                valid = ", ".join(str(b) for b in self.bits)
                raise UsageError(
                    f"{self.name} cannot quantize {which} to {bits} bits; it can do {valid}."
                )

        if self.cell.e_bits is not None and ("text" not in self.tasks or not self.quantizes):
            raise UsageError(f"{self.name} quantizes no embeddings; leave out --e-bits.")

    def refuse(self, why: str) -> UsageError:
        """The error for a cell that this method cannot do."""
        return UsageError(f"{self.cell.label}: {why}.")

    @property
    def quantizes(self) -> bool:
        """Whether the method leaves anything quantized (FP32 does not)."""
        return True

    @property
    def soft_labels(self) -> bool:
        """Whether training reads a teacher's soft labels instead of the class labels."""
        return False

    @property
    def keeps_weights(self) -> bool:
        """Whether the finished weights are new, or the FP32 model's that are kept already."""
        return True

    @property
    def diagnosis(self) -> dict[str, Any]:
        """What the method saw of the model that explains its number: plain values."""
        return {}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors that belong to the diagnosis, kept in a file beside the record."""
        return {}

    @property
    def calibration_split(self) -> str:
        """Which split the initial activation scales are taken from: `train` or `validation`."""
        return "train"

    @property
    def calibrates_before_wrapping(self) -> bool:
        """Whether scales are set before the model is wrapped for gradient averaging."""
        return True

    def needs(self) -> Mapping[str, Cell]:
        """Cells that must be finished first, by what they are to this one: a teacher, an earlier
        stage. The FP32 cell that a recipe starts from is needed anyway, as `fp32`."""
        return {}

    def receive(self, found: Mapping[str, Finished], classes: int, device: torch.device) -> None:
        """Take what the needed cells left behind, before `place`.

        classes: outputs of a text model (0: the task has no classes).
        """

    def stages(self) -> tuple[Stage, ...]:
        """The parts of the training, in order: one, by the cell's recipe."""
        return (Stage("", self.cell.recipe),)

    def begin(self, stage: str, model: nn.Module) -> None:
        """Get ready for a stage, before its optimizer is made; a resumed run begins it again."""

    def around(self, model: nn.Module) -> nn.Module:
        """The module whose forward trains: it is wrapped and compiled instead of `model`, so that
        a teacher's forward or intermediate values can be part of it. It must share `model`'s
        parameters and train no others."""
        return model

    def objective(self, net: nn.Module, inputs: Any, targets: Tensor, progress: Progress) -> Tensor:
        """The scalar loss of one batch. net: `around(model)`, wrapped and compiled."""
        from suite.losses import task_loss

        return task_loss(net(inputs), targets)

    def quantizer(self, slot: Slot) -> nn.Module | None:
        """Return the quantizer for `slot`, or None to leave it in FP32."""
        return None

    def place(self, model: nn.Module) -> None:
        """Put quantizers into the model's slots, before anything is wrapped or optimised."""
        from suite.models.slot import slots

        for slot in slots(model).values():
            slot.quantizer = self.quantizer(slot)

    def initialise(self, model: nn.Module, draw: Draw, rank: int = 0) -> None:
        """Set initial scales from the cell's calibration data, the model in eval mode.

        By default `calibrate` sees one batch of the recipe's size. rank is 0 unless the method
        calibrates after wrapping, when every process does its own.
        """
        self.calibrate(model, draw.batch(self.calibration_split), rank)

    def adopt(self, model: nn.Module, draw: Draw) -> None:
        """Set what belongs to a calibrated model but not to its tensors; `initialise` is not
        called for a model that comes from a checkpoint."""

    def calibrate(self, model: nn.Module, inputs: Any, rank: int = 0) -> None:
        """Set initial scales from the weights and from one batch of model inputs."""

    def penalty(self, model: nn.Module, progress: Progress) -> Tensor | None:
        """A scalar added to the task loss, or None (and no cost) when there is none now."""
        return None

    def protocol(self) -> dict[str, Any]:
        """What a reader must know to compare the number: plain values for the record."""
        return {}
