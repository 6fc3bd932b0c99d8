"""The image models by name, without importing torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suite.models.deit import DeiT


@dataclass(frozen=True)
class ModelSpec:
    """A DeiT's dimensions, and where its FP32 weights are.

    timm: name of the pretrained weights on the hub ("" where there are none); image_size, patch:
    pixels; init: timm's name of the initialisation; distilled: it has a distillation token.
    """

    name: str
    summary: str
    dim: int
    depth: int
    heads: int
    image_size: int = 224
    patch: int = 16
    channels: int = 3
    classes: int = 1000
    timm: str = ""
    init: str = ""
    modality: str = "image"
    distilled: bool = False

    def build(self, drop_path: float = 0.0, seed: int = 0, clamp_gelu: bool = False) -> DeiT:
        """A randomly initialised model with empty slots; the global generator is left alone."""
        import torch

        from suite.models import deit

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            make = deit.build_distilled if self.distilled else deit.build
            return make(self, drop_path, clamp_gelu)


DEIT_TINY = ModelSpec(
    "deit_tiny", "DeiT-T/16, 224 px, 5.7 M", 192, 12, 3, timm="deit_tiny_patch16_224.fb_in1k"
)
DEIT_SMALL = ModelSpec(
    "deit_small", "DeiT-S/16, 224 px, 22 M", 384, 12, 6, timm="deit_small_patch16_224.fb_in1k"
)
DEIT_BASE = ModelSpec(
    "deit_base", "DeiT-B/16, 224 px, 87 M", 768, 12, 12, timm="deit_base_patch16_224.fb_in1k"
)
DEIT_PICO = ModelSpec(
    "deit_pico",
    "DeiT's twin for 28 px grey images, 0.2 M, trained here",
    64,
    4,
    4,
    image_size=28,
    patch=7,
    channels=1,
    classes=10,
    init="jax",
)
DEIT_TINY_DISTILLED = replace(
    DEIT_TINY,
    name="deit_tiny_distilled",
    summary="DeiT-T/16 with a distillation token, 224 px, 5.9 M",
    timm="deit_tiny_distilled_patch16_224.fb_in1k",
    distilled=True,
)
DEIT_SMALL_DISTILLED = replace(
    DEIT_SMALL,
    name="deit_small_distilled",
    summary="DeiT-S/16 with a distillation token, 224 px, 22 M",
    timm="deit_small_distilled_patch16_224.fb_in1k",
    distilled=True,
)
DEIT_PICO_DISTILLED = replace(
    DEIT_PICO,
    name="deit_pico_distilled",
    summary="deit_pico with a distillation token, 0.2 M, trained here",
    distilled=True,
)
