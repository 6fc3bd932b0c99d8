"""MobileBERT with the places of P2: 32 activations and 23 weights a layer of the default shape
(P2 code: quantized_mobilebert.py).

Letters as in suite/models/bert.py, where the same is meant. In the embeddings: `t` the transformed
trigrams, `e_position`, `e_type` (`e`) the sums in this order, `n` the norm. In a layer: `B`, `Bn`
the input bottleneck and its norm, `A`, `An` that of query and key; q, k, v, s, p; `c` the context
before its heads are merged; g, u, x; i, h, y, z of the last feed-forward block and, with a number,
of each stacked one (`h3.0`); `o`, `or`, `on` the output bottleneck, its residual sum and norm. Then
P and C. The weight at `x3` is `wx3`; a NoNorm's bias with a quantizer of its own is `bx3`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.models.bert import Intermediate, PooledClassifier, Pooler, SelfAttention
from suite.models.encoder import Body, check_length
from suite.models.slot import Slot
from suite.models.text_layers import Places, embedding, layer_norm, linear


class QuantNoNorm(nn.Module):
    """x * weight + bias with quantized weight and bias. x: [..., width].

    bias_slot None: one quantizer takes both, weight first, so that a range it estimates in use is
    in the end the bias's, for the weight too (P2 code: quantized_mobilebert.py:58-72).
    """

    def __init__(self, source: Any, weight_slot: Slot, bias_slot: Slot | None) -> None:
        super().__init__()
        self.weight = source.weight
        self.bias = source.bias
        self.weight_slot = weight_slot
        self.bias_slot = bias_slot

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_slot(self.weight)
        return x * weight + (self.bias_slot or self.weight_slot)(self.bias)


class Norms:
    """Makes the norms of a model: with `shared`, one quantizer for a NoNorm's weight and bias."""

    def __init__(self, shared: bool) -> None:
        self.shared = shared

    def __call__(self, source: Any, at: Places, letter: str, role: str) -> nn.Module:
        slot = at.weight(f"w{letter}", role)
        if isinstance(source, nn.LayerNorm):
            return layer_norm(source, slot)
        bias = None if self.shared else at.weight(f"b{letter}", f"{role}_bias")
        return QuantNoNorm(source, slot, bias)


class Embeddings(nn.Module):
    """Trigrams of narrow word embeddings, transformed, + positions, + segments, then a norm."""

    def __init__(self, source: Any, norms: Norms) -> None:
        super().__init__()
        at, width = Places(), source.hidden_size
        words = at.weight("Et", "word_embedding", edge=True)
        positions = at.weight("Ep", "position_embedding", edge=True)
        segments = at.weight("Es", "type_embedding", edge=True)
        self.trigrams = source.trigram_input
        self.transforms = source.trigram_input or source.embedding_size != width
        self.word_embeddings = embedding(source.word_embeddings, words)
        self.embedding_transformation = linear(
            source.embedding_transformation, at.weight("wt", "embedding_transformation", edge=True)
        )
        self.transformed = at.activation("t", "embedding_transformation", width=width)
        self.position_embeddings = embedding(source.position_embeddings, positions)
        self.position_sum = at.activation("e_position", "position_sum", width=width, also=("e",))
        self.token_type_embeddings = embedding(source.token_type_embeddings, segments)
        self.type_sum = at.activation("e_type", "type_sum", width=width, also=("e",))
        self.LayerNorm = norms(source.LayerNorm, at, "n", "embedding_norm")
        self.norm_out = at.activation("n", "embedding_norm", width=width)
        self.dropout = nn.Dropout(source.dropout.p)

    def forward(self, ids: Tensor, types: Tensor) -> Tensor:
        check_length(ids.shape[1], self.position_embeddings.num_embeddings)
        x = self.word_embeddings(ids)
        x = _trigrams(x) if self.trigrams else x
        x = self.transformed(self.embedding_transformation(x)) if self.transforms else x
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self.position_sum(x + self.position_embeddings(positions))
        x = self.type_sum(x + self.token_type_embeddings(types))
        return self.dropout(self.norm_out(self.LayerNorm(x)))


class DenseNorm(nn.Module):
    """A bottleneck: dense, then norm."""

    def __init__(self, source: Any, at: Places, norms: Norms, letter: str, role: str) -> None:
        super().__init__()
        width = source.dense.out_features
        self.dense = linear(source.dense, at.weight(f"w{letter}", role))
        self.dense_out = at.activation(letter, role, width=width)
        self.LayerNorm = norms(source.LayerNorm, at, f"{letter}n", f"{role}_norm")
        self.norm_out = at.activation(f"{letter}n", f"{role}_norm", width=width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm_out(self.LayerNorm(self.dense_out(self.dense(x))))


class Bottleneck(nn.Module):
    """Narrows a layer's input; returns the inputs of query, key, value and of the residual."""

    def __init__(self, source: Any, at: Places, norms: Norms) -> None:
        super().__init__()
        self.for_all = source.use_bottleneck_attention
        self.input = DenseNorm(source.input, at, norms, "B", "bottleneck")
        self.attention: nn.Module | None = None
        if source.key_query_shared_bottleneck:
            self.attention = DenseNorm(source.attention, at, norms, "A", "attn_bottleneck")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        narrow = self.input(x)
        if self.for_all:
            return narrow, narrow, narrow, narrow
        shared = x if self.attention is None else self.attention(x)
        return shared, shared, x, narrow


class ResidualNorm(nn.Module):
    """Dense, residual sum and norm, each with a place: the letters `names` in this order."""

    def __init__(
        self,
        source: Any,
        at: Places,
        norms: Norms,
        names: tuple[str, str, str],
        roles: tuple[str, str, str],
    ) -> None:
        super().__init__()
        width = source.dense.out_features
        self.dense = linear(source.dense, at.weight(f"w{names[0]}", roles[0]))
        self.dense_out = at.activation(names[0], roles[0], width=width)
        self.dropout = nn.Dropout(source.dropout.p if hasattr(source, "dropout") else 0.0)
        self.residual_out = at.activation(names[1], roles[1], width=width)
        self.LayerNorm = norms(source.LayerNorm, at, names[2], roles[2])
        self.norm_out = at.activation(names[2], roles[2], width=width)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        x = self.dropout(self.dense_out(self.dense(x)))
        return self.norm_out(self.LayerNorm(self.residual_out(x + residual)))


FFN = ("h", "y", "z"), ("fc2", "ffn_residual", "ffn_norm")
ATTENTION = ("g", "u", "x"), ("attn_out", "attn_residual", "attn_norm")
WIDENING = ("o", "or", "on"), ("bottleneck_out", "bottleneck_residual", "bottleneck_out_norm")


class FeedForward(nn.Module):
    """One of the stacked feed-forward blocks."""

    def __init__(self, source: Any, at: Places, norms: Norms) -> None:
        super().__init__()
        self.intermediate = Intermediate(source.intermediate, at)
        self.output = ResidualNorm(source.output, at, norms, *FFN)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.intermediate(x), x)


class Attention(nn.Module):
    """Self-attention and its output block, under transformers' names."""

    def __init__(self, source: Any, at: Places, norms: Norms) -> None:
        super().__init__()
        self.self = SelfAttention(source.self, at, merged=False)
        self.output = ResidualNorm(source.output, at, norms, *ATTENTION)


class LastOutput(ResidualNorm):
    """The output of the last feed-forward block, widened again where there is a bottleneck."""

    def __init__(self, source: Any, at: Places, norms: Norms) -> None:
        super().__init__(source, at, norms, *FFN)
        self.bottleneck: nn.Module | None = None
        if source.use_bottleneck:
            self.bottleneck = ResidualNorm(source.bottleneck, at, norms, *WIDENING)


class Layer(nn.Module):
    """One encoder layer."""

    def __init__(self, source: Any, index: int, norms: Norms) -> None:
        super().__init__()
        at = Places(index)
        self.bottleneck: nn.Module | None = None
        if source.use_bottleneck:
            self.bottleneck = Bottleneck(source.bottleneck, at, norms)
        self.attention = Attention(source.attention, at, norms)
        stacked = getattr(source, "ffn", ())
        self.ffn = nn.ModuleList(
            FeedForward(block, Places(index, part), norms) for part, block in enumerate(stacked)
        )
        self.intermediate = Intermediate(source.intermediate, at)
        self.output = LastOutput(source.output, at, norms)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        narrowed = (x, x, x, x) if self.bottleneck is None else self.bottleneck(x)
        query, key, value, residual = narrowed
        y = self.attention.output(self.attention.self(query, key, value, mask), residual)
        for block in self.ffn:
            y = block(y)
        y = self.output(self.intermediate(y), y)
        return y if self.output.bottleneck is None else self.output.bottleneck(y, x)


class FirstToken(nn.Module):
    """A pooler without parameters: the first token's hidden state."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[:, 0]


def mobilebert(source: Any, *, shared_norms: bool = True) -> PooledClassifier:
    """Place slots in transformers' MobileBertForSequenceClassification.

    shared_norms: one quantizer for weight and bias of a NoNorm, as released; otherwise each has
    its own.
    """
    base, norms = source.mobilebert, Norms(shared_norms)
    layers = [Layer(layer, i, norms) for i, layer in enumerate(base.encoder.layer)]
    pooler = Pooler(base.pooler) if base.pooler.do_activate else FirstToken()
    body = Body(Embeddings(base.embeddings, norms), layers, pooler)
    return PooledClassifier("mobilebert", body, source)


def _trigrams(x: Tensor) -> Tensor:
    """[rows, tokens, width] -> [rows, tokens, 3 width]: next, this and previous token."""
    after = F.pad(x[:, 1:], (0, 0, 0, 1))
    before = F.pad(x[:, :-1], (0, 0, 1, 0))
    return torch.cat([after, x, before], dim=2)
