"""DeiT on timm's VisionTransformer, with a slot at every operand of a matrix product.

Names of layers and slots are those of P1's code (models/quantization/DeiT_quant.py), so that its
checkpoints fit: `blocks.0.attn.proj_q`, `blocks.0.mlp.quant2`.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from suite.models.slot import QuantConv2d, QuantLinear, Slot


class Dimensions(Protocol):
    """What `build` needs to know of a model."""

    @property
    def dim(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def image_size(self) -> int: ...
    @property
    def patch(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def classes(self) -> int: ...
    @property
    def init(self) -> str: ...


class PatchEmbed(nn.Module):
    """Image [N, C, H, W] to tokens [N, H/p * W/p, dim]."""

    def __init__(self, size: int, channels: int, patch: int, dim: int) -> None:
        super().__init__()
        self.num_patches = (size // patch) ** 2
        self.quant = Slot("patch_input", "activation", edge=True, channel_shape=(channels, 1, 1))
        weight = Slot("patch_weight", "weight", edge=True, channel_shape=(dim, 1, 1, 1))
        self.proj = QuantConv2d(channels, dim, patch, patch, weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.quant(x)).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention with separate q, k, v and visible probabilities. x: [N, tokens, dim].

    q_norm, k_norm: what q and k [N, heads, tokens, dim/heads] pass before their quantizers; a
    method may put a normalisation there.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.quant_input = Slot("attn_input", "activation", channel_shape=(dim,))
        self.proj_q = _linear(dim, dim, "query_weight")
        self.proj_k = _linear(dim, dim, "key_weight")
        self.proj_v = _linear(dim, dim, "value_weight")
        self.q_norm: nn.Module = nn.Identity()
        self.k_norm: nn.Module = nn.Identity()
        self.quant_q = _per_head("query", heads)
        self.quant_k = _per_head("key", heads)
        self.quant_v = _per_head("value", heads)
        self.quant_attn = _per_head("attn_probs", heads, signed=False)
        self.quant_output = _per_head("attn_output", heads)
        self.quant_output.channel_shape = (1, heads, 1, dim // heads)
        self.proj = _linear(dim, dim, "proj_weight")

    def forward(self, x: Tensor, **masks: None) -> Tensor:
        """timm's blocks pass their masks along; DeiT has none."""
        x = self.quant_input(x)
        q = self.quant_q(self.q_norm(self._split(self.proj_q(x))))
        k = self.quant_k(self.k_norm(self._split(self.proj_k(x))))
        v = self.quant_v(self._split(self.proj_v(x)))
        # No fused attention: it would hide the probabilities, which are quantized.
        probs = self.quant_attn(((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1))
        out = self.quant_output(probs @ v)
        return self.proj(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[N, tokens, dim] to [N, heads, tokens, dim/heads]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with GELU between, `ratio` times as wide there. x: [N, tokens, dim].

    bounds: smallest and largest value of GELU's output, if it is clamped: P1's own FP32 models
    clamp it at 1 (errata variation-D2).
    """

    def __init__(self, dim: int, clamp: bool, ratio: int = 4) -> None:
        super().__init__()
        self.bounds: tuple[float | None, float | None] | None = (None, 1.0) if clamp else None
        self.quant1 = Slot("mlp_input", "activation", channel_shape=(dim,))
        self.fc1 = _linear(dim, ratio * dim, "fc1_weight")
        hidden = (ratio * dim,)
        self.quant2 = Slot("mlp_hidden", "activation", signed=False, channel_shape=hidden)
        self.fc2 = _linear(ratio * dim, dim, "fc2_weight")

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.fc1(self.quant1(x)))
        if self.bounds is not None:
            hidden = hidden.clamp(*self.bounds)
        return self.fc2(self.quant2(hidden))


class DeiT(VisionTransformer):
    """timm's VisionTransformer whose products go through slots. Returns logits [N, classes]."""

    def __init__(self, spec: Dimensions, drop_path: float, clamp_gelu: bool) -> None:
        super().__init__(
            img_size=spec.image_size,
            patch_size=spec.patch,
            in_chans=spec.channels,
            num_classes=spec.classes,
            embed_dim=spec.dim,
            depth=spec.depth,
            num_heads=spec.heads,
            drop_path_rate=drop_path,
            weight_init="skip",
        )
        self.patch_embed = PatchEmbed(spec.image_size, spec.channels, spec.patch, spec.dim)
        for block in self.blocks:
            block.attn = Attention(spec.dim, spec.heads)
            block.mlp = Mlp(spec.dim, clamp_gelu)
        self.quant = _head_input(spec.dim)
        self.head = _head(spec.dim, spec.classes)
        self.init_weights(spec.init)
        # timm's xavier scheme leaves the head at zero, for which no step exists.
        nn.init.trunc_normal_(self.head.weight, std=0.02)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = self.pool(x)
        return pooled if pre_logits else self.head(self.quant(pooled))


class DistilledDeiT(DeiT):
    """DeiT with a distillation token and a head for it. Returns the mean of both heads' logits, as
    timm's does outside distillation."""

    def __init__(self, spec: Dimensions, drop_path: float, clamp_gelu: bool) -> None:
        super().__init__(spec, drop_path, clamp_gelu)
        self.num_prefix_tokens = 2
        self.dist_token = nn.Parameter(torch.zeros(1, 1, spec.dim))
        tokens = self.patch_embed.num_patches + self.num_prefix_tokens
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, spec.dim))
        self.quant_dist = _head_input(spec.dim)
        self.head_dist = _head(spec.dim, spec.classes)
        for drawn in (self.dist_token, self.pos_embed, self.head_dist.weight):
            nn.init.trunc_normal_(drawn, std=0.02)
        nn.init.zeros_(self.head_dist.bias)

    def _pos_embed(self, x: Tensor) -> Tensor:
        assert self.cls_token is not None
        assert self.pos_embed is not None
        first = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.dist_token)]
        return self.pos_drop(torch.cat([*first, x], dim=1) + self.pos_embed)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if pre_logits:
            return (x[:, 0] + x[:, 1]) / 2
        of_class, of_teacher = self.heads(x)
        return (of_class + of_teacher) / 2

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the class and of the distillation token from features [N, tokens, dim]."""
        return self.head(self.quant(x[:, 0])), self.head_dist(self.quant_dist(x[:, 1]))


def build(spec: Dimensions, drop_path: float = 0.0, clamp_gelu: bool = False) -> DeiT:
    """A DeiT with empty slots, initialised from torch's global generator."""
    return DeiT(spec, drop_path, clamp_gelu)


def build_distilled(spec: Dimensions, drop_path: float, clamp_gelu: bool) -> DistilledDeiT:
    """The same with a distillation token."""
    return DistilledDeiT(spec, drop_path, clamp_gelu)


def split_qkv(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's fused `attn.qkv.*` rows [0:C], [C:2C], [2C:3C] as `attn.proj_{q,k,v}.*`.

    What cannot be split, or would take another's name, keeps its own.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        parts = [name.replace(".qkv.", f".proj_{letter}.") for letter in "qkv"]
        fused = ".attn.qkv." in name and value.ndim > 0 and len(value) % 3 == 0
        if not fused or any(part in state for part in parts):
            found[name] = value
            continue
        for part, rows in zip(parts, torch.chunk(value, 3, dim=0), strict=True):
            found[part] = rows.contiguous()
    return found


def _head_input(dim: int) -> Slot:
    return Slot("head_input", "activation", edge=True, channel_shape=(dim,))


def _head(dim: int, classes: int) -> QuantLinear:
    slot = Slot("head_weight", "weight", edge=True, channel_shape=(classes, 1))
    return QuantLinear(dim, classes, slot)


def _linear(inp: int, out: int, role: str) -> QuantLinear:
    return QuantLinear(inp, out, Slot(role, "weight", channel_shape=(out, 1)))


def _per_head(role: str, heads: int, signed: bool = True) -> Slot:
    return Slot(role, "activation", signed=signed, heads=heads, head_axis=1)
