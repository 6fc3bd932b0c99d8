"""A cell: everything that decides which number comes out, and nothing else."""

from __future__ import annotations

import hashlib
import json
import string
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from suite.errors import UsageError

SCHEMA = 1
"""Version of the identity; part of every cell id."""

LONGEST_SHOWN = 120
"""Characters of a value in a message."""

LONGEST_STEM = 150
"""Characters of a cell id before its seed: file systems take 255 in a name."""


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )


Share = Annotated[float, Field(ge=0, lt=1)]
"""A part of a whole, below it."""


class Recipe(_Frozen):
    """How a cell is trained and evaluated, where that can change its number.

    start: where the weights come from: `scratch`, `pretrained` (a checkpoint from disk or hub),
        `fp32` (the FP32 cell of the same model and task), or `quantized` (a checkpoint that
        holds the quantizers' state too, named by --weights; it is not calibrated).
    fp32_recipe: name of that FP32 cell's recipe; its cell is a prerequisite of this one.
    epochs: nominal epochs; one pass with `crops` crops an image counts as `crops` epochs.
    batch_size: crops a step over all processes together.
    before: names of the recipes of further cells that this one rests on, by what they are to it.
    optimizer: who moves the parameters; weight_decay, betas, eps: its own (eps: what is added to
        the root of the squared gradient's mean; None: the optimizer's own, see suite.optimize).
    quantizer_lr: learning rate of the quantizers' own parameters (None: that of the weights).
    lr_per: whether the cosine moves at every `step` or every `epoch` (as the P1 code does).
    max_steps: stop every pass after this many steps (0: no limit); for trying a path out.
    calibration_images, calibration_batches: samples of one calibration batch, and batches.
    max_length, pad: tokens of a text (0: the model's own limit), and what it is padded to.
    truncation: how a pair over the limit is cut: `longest_first` as tokenizers does it, or
        `token_by_token` from the longer text, of equal ones the second (BERT's first release).
    decay, warmup_share: form of the learning rate, and the share of steps in which it rises
        from zero (with `linear`; `cosine` warms up over warmup_epochs).
    dropout: rate of all dropouts in training (None: the model's own).
    fp32_seed: seed of the FP32 cell (None: this cell's); the seed of a cell that only calibrates
        is a calibration draw.
    augment: train on a file of augmented texts instead, where the task's folder has one.
    teacher: who makes the soft labels: `fp32`, or `archive` for imported ones.
    label_crops: crops stored an image in the soft labels.
    crop_scale: smallest and largest share of the image area that a training crop covers.
    interpolation: how image files are scaled, in training and in evaluation.
    crop_pct: share of the shorter side that the central crop of the evaluation keeps, as timm calls
        it: 0.875 is 224 of 256 pixels.
    last_batch: whether a pass ends with the samples that do not fill a batch (images; texts do).
    lr_lag: epochs by which the learning rate is read late, with lr_per = `epoch`.
    clamp_gelu: clamp GELU's output at 1 in the FP32 model, as P1's own FP32 checkpoints need.
    gate: lowest FP32 accuracy (percent) for which a quantized cell may start (None: no gate).
    """

    start: Literal["scratch", "pretrained", "fp32", "quantized"] = "fp32"
    fp32_recipe: str = ""
    before: dict[str, str] = {}
    epochs: int = Field(default=0, ge=0)
    batch_size: int = Field(default=64, ge=1)
    crops: int = Field(default=1, ge=1)
    lr: float = Field(default=5e-4, gt=0)
    min_lr: float = Field(default=0.0, ge=0)
    warmup_epochs: int = Field(default=0, ge=0)
    lr_per: Literal["step", "epoch"] = "epoch"
    weight_decay: float = Field(default=1e-4, ge=0)
    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: float | None = Field(default=None, gt=0, lt=1)
    optimizer: Literal["adamw", "lamb", "bertadam"] = "adamw"
    quantizer_lr: float | None = Field(default=None, gt=0)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    crop_scale: tuple[float, float] = (0.08, 1.0)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop_pct: float = Field(default=0.875, gt=0, le=1)
    last_batch: Literal["drop", "keep"] = "drop"
    lr_lag: int = Field(default=0, ge=0)
    max_steps: int = Field(default=0, ge=0)
    calibration_images: int = Field(default=64, ge=1)
    calibration_batches: int = Field(default=1, ge=1)
    max_length: int = Field(default=0, ge=0)
    pad: Literal["longest", "max"] = "longest"
    truncation: Literal["longest_first", "token_by_token"] = "longest_first"
    decay: Literal["cosine", "linear"] = "cosine"
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    fp32_seed: int | None = Field(default=None, ge=0)
    augment: bool = False
    teacher: Literal["fp32", "archive"] = "fp32"
    label_crops: int = Field(default=4, ge=1)
    clamp_gelu: bool = False
    gate: float | None = Field(default=None, ge=0, le=100)

    @field_validator("crop_scale")
    @classmethod
    def _ascending_shares(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError("give the smallest and the largest share, like [0.08, 1.0]")
        return scale


class Cell(_Frozen):
    """One measured configuration. Bits are 1..32; 32 means not quantized."""

    method: str
    model: str
    task: str
    w_bits: int = Field(default=32, ge=1, le=32)
    a_bits: int = Field(default=32, ge=1, le=32)
    e_bits: int | None = Field(default=None, ge=1, le=32)
    seed: int = Field(default=0, ge=0, lt=2**63)
    variant: str = ""
    settings: dict[str, bool | int | float | str] = {}
    recipe: Recipe = Recipe()

    @property
    def bits(self) -> str:
        """Short form for people: `w2a2`, `w4a8e2`, `fp32`."""
        if self.w_bits == self.a_bits == 32 and self.e_bits is None:
            return "fp32"
        return f"w{self.w_bits}a{self.a_bits}" + (f"e{self.e_bits}" if self.e_bits else "")

    @property
    def label(self) -> str:
        """What a person calls the cell: method[-variant][settings]/model/task/bits/seed."""
        return f"{self.configuration}/s{self.seed}"

    @property
    def configuration(self) -> str:
        """The label without the seed: what several trainings or draws have in common."""
        method = self.method + (f"-{self.variant}" if self.variant else "")
        settings = ",".join(f"{name}={value}" for name, value in sorted(self.settings.items()))
        method += f"[{settings}]" if settings else ""
        return f"{method}/{Path(self.model).name}/{self.task}/{self.bits}"

    def delta(self) -> dict[str, Any]:
        """The fields that differ from their defaults, nested, ready for JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def to_json(self) -> str:
        """Canonical JSON of the delta; `Cell.from_json` restores the cell."""
        return json.dumps(self.delta(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Cell:
        return make_cell(**json.loads(text))

    def id(self, method_version: int) -> str:
        """Directory-safe identity: a readable stem and 10 hex digits of a digest.

        The digest covers the delta from the defaults, the schema and the method's version, so
        that a new field with a default does not orphan old results.
        """
        text = f"{SCHEMA}:{method_version}:{self.to_json()}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        stem = "-".join([self.method, self.variant, self.model, self.task, self.bits])
        plain = string.ascii_letters + string.digits + "-_"
        safe = "".join(c if c in plain else "_" for c in stem.replace("--", "-"))[:LONGEST_STEM]
        return f"{safe}-s{self.seed}-{digest}"


def short(value: object) -> str:
    """A value as a message shows it: not thousands of characters of it."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def make_cell(**fields: Any) -> Cell:
    """Build a Cell; a bad or unknown field becomes one sentence (UsageError)."""
    return validated(Cell, fields, "cell")


def validated(model: type[BaseModel], fields: dict[str, Any], what: str) -> Any:
    """Build a pydantic model, turning its first complaint into one sentence (UsageError)."""
    try:
        return model.model_validate(fields)
    except ValidationError as problem:
        raise UsageError(_sentence(model, problem, what)) from None


def _sentence(model: type[BaseModel], problem: ValidationError, what: str) -> str:
    first = problem.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        owner = model
        for part in first["loc"][:-1]:
            field = owner.model_fields.get(str(part))
            nested = field.annotation if field else None
            if isinstance(nested, type) and issubclass(nested, BaseModel):
                owner = nested
        return f"Unknown {what} field {where!r}; valid: {', '.join(sorted(owner.model_fields))}."
    return f"The {what} field {where!r} cannot be {short(first['input'])}: {first['msg']}."
