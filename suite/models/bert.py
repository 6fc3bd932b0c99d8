"""BERT with the places of P2: 13 activations and 8 weights a layer (P2 code: quantized_bert.py).

| place | what | place | what |
|---|---|---|---|
| `e_type`, `e_position` (`e`) | sums of the embeddings | `x` | attention LayerNorm = FFN input |
| `n` | embedding LayerNorm | `i` | GELU of the FFN's first layer |
| `q`, `k`, `v` | query, key, value | `h` | FFN output |
| `s` | attention scores, unscaled and unmasked | `y` | FFN residual sum |
| `p` | attention probabilities before dropout | `z` | last LayerNorm |
| `c` | context, heads merged | `P` | pooler, after tanh |
| `g`, `u` | attention output, its residual sum | `C` | logits |

`Et`, `Ep` and `Es` are the tables of words, positions and segments; `wx3` is the gamma of `x3`, and
so on. Letters are P2's, but for `n`, `q`, `k`, `v` and `i`, which it leaves without one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from suite.models.encoder import Body, TextModel, check_length
from suite.models.text_layers import Places, embedding, layer_norm, linear


class Embeddings(nn.Module):
    """Words + segments, then + positions, each sum with a place, then LayerNorm.

    padding: id of the padding token where positions skip it (RoBERTa); None: they count up.
    """

    def __init__(self, source: Any, padding: int | None = None) -> None:
        super().__init__()
        at = Places()
        width = source.word_embeddings.embedding_dim
        words = at.weight("Et", "word_embedding", edge=True)
        positions = at.weight("Ep", "position_embedding", edge=True)
        segments = at.weight("Es", "type_embedding", edge=True)
        self.padding = padding
        self.word_embeddings = embedding(source.word_embeddings, words)
        self.token_type_embeddings = embedding(source.token_type_embeddings, segments)
        self.type_sum = at.activation("e_type", "type_sum", width=width, also=("e",))
        self.position_embeddings = embedding(source.position_embeddings, positions)
        self.position_sum = at.activation("e_position", "position_sum", width=width, also=("e",))
        self.LayerNorm = layer_norm(source.LayerNorm, at.weight("wn", "embedding_norm"))
        self.norm_out = at.activation("n", "embedding_norm", width=width)
        self.dropout = nn.Dropout(source.dropout.p)

    def forward(self, ids: Tensor, types: Tensor) -> Tensor:
        x = self.type_sum(self.word_embeddings(ids) + self.token_type_embeddings(types))
        x = self.position_sum(x + self.position_embeddings(self._positions(ids)))
        return self.dropout(self.norm_out(self.LayerNorm(x)))

    def _positions(self, ids: Tensor) -> Tensor:
        """Position of every token: [1, tokens], or [rows, tokens] where padding is skipped."""
        table = self.position_embeddings.num_embeddings
        if self.padding is None:
            check_length(ids.shape[1], table)
            return torch.arange(ids.shape[1], device=ids.device)[None]
        check_length(ids.shape[1], table - self.padding - 1)
        real = (ids != self.padding).long()
        return real.cumsum(1) * real + self.padding


class SelfAttention(nn.Module):
    """Multi-head attention with places at q, k, v, scores, probabilities and context.

    merged: whether the place of the context is after the heads are merged (BERT) or before
    (MobileBERT).
    """

    def __init__(self, source: Any, at: Places, *, merged: bool = True) -> None:
        super().__init__()
        heads, width = source.num_attention_heads, source.all_head_size
        self.heads = heads
        self.merged = merged
        self.scale = math.sqrt(source.attention_head_size)
        self.query = linear(source.query, at.weight("wq", "query", heads=heads))
        self.query_out = at.activation("q", "query", width=width)
        self.key = linear(source.key, at.weight("wk", "key", heads=heads))
        self.key_out = at.activation("k", "key", width=width)
        self.value = linear(source.value, at.weight("wv", "value", heads=heads))
        self.value_out = at.activation("v", "value", width=width)
        self.scores = at.activation("s", "attn_scores", heads=heads)
        self.probs = at.activation("p", "attn_probs", heads=heads, signed=False)
        self.dropout: nn.Module = nn.Dropout(source.dropout.p)
        self.context = at.activation("c", "context", width=width if merged else None)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """query, key, value: what these are computed from; mask: added to the scaled scores."""
        q = self._split(self.query_out(self.query(query)))
        k = self._split(self.key_out(self.key(key)))
        v = self._split(self.value_out(self.value(value)))
        scores = self.scores(q @ k.transpose(-1, -2)) / self.scale
        probs = self.dropout(self.probs((scores + mask).softmax(dim=-1)))
        context = probs @ v
        if self.merged:
            return self.context(_merge(context))
        return _merge(self.context(context))

    def _split(self, x: Tensor) -> Tensor:
        """[rows, tokens, width] -> [rows, heads, tokens, width / heads]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Output(nn.Module):
    """Dense, residual sum and LayerNorm, each with a place: the letters `names` in this order."""

    def __init__(
        self, source: Any, at: Places, names: tuple[str, str, str], roles: tuple[str, str, str]
    ) -> None:
        super().__init__()
        width = source.dense.out_features
        dense, residual, norm = names
        self.dense = linear(source.dense, at.weight(f"w{dense}", roles[0]))
        self.dense_out = at.activation(dense, roles[0], width=width)
        self.dropout = nn.Dropout(source.dropout.p)
        self.residual_out = at.activation(residual, roles[1], width=width)
        self.LayerNorm = layer_norm(source.LayerNorm, at.weight(f"w{norm}", roles[2]))
        self.norm_out = at.activation(norm, roles[2], width=width)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        x = self.dropout(self.dense_out(self.dense(x)))
        return self.norm_out(self.LayerNorm(self.residual_out(x + residual)))


class Attention(nn.Module):
    """Self-attention and its output block, under transformers' names."""

    def __init__(self, source: Any, at: Places) -> None:
        super().__init__()
        self.self = SelfAttention(source.self, at)
        roles = ("attn_out", "attn_residual", "attn_norm")
        self.output = Output(source.output, at, ("g", "u", "x"), roles)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.output(self.self(x, x, x, mask), x)


class Intermediate(nn.Module):
    """Dense and activation function; the place is behind the function, whatever class it has."""

    def __init__(self, source: Any, at: Places) -> None:
        super().__init__()
        self.act = source.intermediate_act_fn
        self.dense = linear(source.dense, at.weight("wi", "fc1", act=self.act))
        self.act_out = at.activation("i", "fc1")

    def forward(self, x: Tensor) -> Tensor:
        return self.act_out(self.act(self.dense(x)))


class Layer(nn.Module):
    """One encoder layer."""

    def __init__(self, source: Any, index: int) -> None:
        super().__init__()
        at = Places(index)
        self.attention = Attention(source.attention, at)
        self.intermediate = Intermediate(source.intermediate, at)
        roles = ("fc2", "ffn_residual", "ffn_norm")
        self.output = Output(source.output, at, ("h", "y", "z"), roles)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Pooler(nn.Module):
    """tanh of a dense layer on the first token, with its place behind the tanh."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        at = Places()
        self.dense = linear(source.dense, at.weight("wP", "pooler", act=torch.tanh))
        self.tanh_out = at.activation("P", "pooler", width=source.dense.out_features, axis=1)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.tanh_out(torch.tanh(self.dense(hidden[:, 0])))


class PooledClassifier(TextModel):
    """An encoder whose pooled first token goes through one dense layer (BERT, MobileBERT)."""

    def __init__(self, prefix: str, body: Body, source: Any) -> None:
        super().__init__(prefix, body)
        at = Places()
        self.dropout = nn.Dropout(source.dropout.p)
        self.classifier = linear(source.classifier, at.weight("wC", "logits", edge=True))
        self.logits = at.activation("C", "logits", edge=True)

    def head(self, hidden: Tensor) -> Tensor:
        return self.logits(self.classifier(self.dropout(self.body.pooler(hidden))))


def bert(source: Any) -> PooledClassifier:
    """Place slots in transformers' BertForSequenceClassification; parameters are taken over."""
    base = source.bert
    layers = [Layer(layer, i) for i, layer in enumerate(base.encoder.layer)]
    body = Body(Embeddings(base.embeddings), layers, Pooler(base.pooler))
    return PooledClassifier("bert", body, source)


def _merge(x: Tensor) -> Tensor:
    """[rows, heads, tokens, width / heads] -> [rows, tokens, width]."""
    return x.transpose(1, 2).flatten(2)
