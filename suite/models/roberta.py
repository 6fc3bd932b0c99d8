"""RoBERTa: BERT's layers, positions that skip padding, and a head of two dense layers.

Places as in suite/models/bert.py. `P` is the output of the head's first dense layer *before* its
tanh, and the tanh has none, as in the released code (P2 code: quantized_roberta.py), where tanh
is a function and not a layer: the last product multiplies an unquantized tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from suite.models.bert import Embeddings, Layer
from suite.models.encoder import Body, TextModel
from suite.models.text_layers import Places, linear


class Head(nn.Module):
    """First token -> dense -> tanh -> logits; `P` is before the tanh, or behind it (tanh_first)."""

    def __init__(self, source: Any, tanh_first: bool) -> None:
        super().__init__()
        at = Places()
        self.tanh_first = tanh_first
        self.dropout = nn.Dropout(source.dropout.p)
        act = torch.tanh if tanh_first else None
        self.dense = linear(source.dense, at.weight("wP", "pooler", act=act))
        self.dense_out = at.activation("P", "pooler", width=source.dense.out_features, axis=1)
        self.out_proj = linear(source.out_proj, at.weight("wC", "logits", edge=True))
        self.logits = at.activation("C", "logits", edge=True)

    def forward(self, hidden: Tensor) -> Tensor:
        x = self.dense(self.dropout(hidden[:, 0]))
        x = self.dense_out(x.tanh()) if self.tanh_first else self.dense_out(x).tanh()
        return self.logits(self.out_proj(self.dropout(x)))


class HeadedClassifier(TextModel):
    """An encoder with RoBERTa's head and no pooler."""

    def __init__(self, prefix: str, body: Body, source: Any, tanh_first: bool) -> None:
        super().__init__(prefix, body)
        self.classifier = Head(source.classifier, tanh_first)

    def head(self, hidden: Tensor) -> Tensor:
        return self.classifier(hidden)


def roberta(source: Any, *, tanh_first: bool = False) -> HeadedClassifier:
    """Place slots in transformers' RobertaForSequenceClassification or a twin of it.

    tanh_first: put `P` behind the head's tanh, as in BERT; otherwise before, as released.
    """
    base = source.roberta
    layers = [Layer(layer, i) for i, layer in enumerate(base.encoder.layer)]
    body = Body(Embeddings(base.embeddings, base.embeddings.padding_idx), layers, None)
    return HeadedClassifier("roberta", body, source, tanh_first)
