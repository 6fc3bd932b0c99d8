"""A model that also gives what some of its modules computed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class Watched(nn.Module):
    """`model` with a forward that returns (its output, what the modules `names` gave out).

    Hooks are in place from construction on, as torch.compile wants it, and keep nothing but
    during this module's own forward.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self._seen: list[Tensor | None] | None = None
        self._count = len(names)
        for place, name in enumerate(names):
            model.get_submodule(name).register_forward_hook(self._keep(place))

    def _keep(self, place: int) -> Any:
        def hook(_: nn.Module, inputs: Any, out: Tensor) -> None:
            if self._seen is not None:
                self._seen[place] = out

        return hook

    def forward(self, inputs: Any) -> tuple[Any, list[Tensor]]:
        self._seen = [None] * self._count
        out = self.model(inputs)
        seen = [value for value in self._seen if value is not None]
        self._seen = None
        return out, seen
