"""Text models and tokenizers from folders, files and the hub, good ones and bad ones."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from suite.errors import EnvironmentProblem, Missing, UsageError
from suite.models.text_loading import SPECIAL, load_model, load_tokenizer, wordpiece
from suite.tasks.encoding import Encoder

CONFIG = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
}


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


def ids() -> dict[str, torch.Tensor]:
    return {"input_ids": torch.arange(5, 25).view(2, 10)}


def change(folder: Path, name: str, value: torch.Tensor | None) -> None:
    """Replace a tensor of the folder's weights, or take it out."""
    path = folder / "model.safetensors"
    state = load_file(path)
    key = next(k for k in state if k.endswith(name))
    del state[key]
    if value is not None:
        state[key] = value
    save_file(state, path, metadata={"format": "pt"})


def test_a_folder_gives_the_logits_that_transformers_gives(classifier: Path) -> None:
    theirs = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    ours = load_model(str(classifier), 3).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(ids()), theirs(**ids()).logits, atol=1e-6, rtol=1e-5)


def test_weights_are_float32_whatever_the_file_holds(tmp_path: Path) -> None:
    BertForSequenceClassification(BertConfig(**CONFIG)).to(torch.bfloat16).save_pretrained(tmp_path)
    assert {p.dtype for p in load_model(tmp_path, 2).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_what_transformers_would_turn_into_weights_is_refused_by_name(
    dtype: torch.dtype, kind: str, classifier: Path
) -> None:
    path = classifier / "model.safetensors"
    state = load_file(path)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    state[name] = state[name].to(dtype)
    state["bert.embeddings.position_ids"] = torch.arange(16)  # of older versions: no weight
    if kind == "bin":
        path.unlink()
        torch.save(state, classifier / "pytorch_model.bin")
    else:
        save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(EnvironmentProblem, match="are no weights") as caught:
        load_model(classifier, 3)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encoder_without_a_head_gets_one_drawn_from_the_seed(bare: Path) -> None:
    before = torch.random.get_rng_state()
    first, same, other = (load_model(bare, 2, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first["classifier.weight"], same["classifier.weight"])
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])
    words = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(first[words], other[words])


def test_another_number_of_outputs_is_refused_with_both_numbers(classifier: Path) -> None:
    with pytest.raises(UsageError, match="has 3 outputs, but the task needs 2"):
        load_model(classifier, 2)


def test_a_lost_folder_is_told_from_a_hub_id(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="There is no folder"):
        load_model(str(tmp_path / "nowhere"), 2)
    with pytest.raises(Missing, match="There is no folder"):
        load_model(Path("nowhere"), 2)


def test_a_folder_without_a_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"has no config\.json"):
        load_model(tmp_path, 2)


def test_a_damaged_config_is_one_sentence(classifier: Path) -> None:
    (classifier / "config.json").write_text("{")
    with pytest.raises(EnvironmentProblem, match="cannot be loaded"):
        load_model(classifier, 3)


def test_truncated_weights_are_one_sentence(classifier: Path) -> None:
    path = classifier / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(EnvironmentProblem, match="cannot be loaded"):
        load_model(classifier, 3)


def test_missing_weights_are_one_sentence(classifier: Path) -> None:
    (classifier / "model.safetensors").unlink()
    with pytest.raises(EnvironmentProblem, match="cannot be loaded"):
        load_model(classifier, 3)


def test_nan_in_the_weights_is_found_and_named(classifier: Path) -> None:
    change(classifier, "layer.1.output.dense.weight", torch.full((24, 40), torch.nan))
    with pytest.raises(EnvironmentProblem, match=r"NaN or infinity in .*layer\.1\.output\.dense"):
        load_model(classifier, 3)


def test_a_tensor_of_the_encoder_that_is_missing_is_named(classifier: Path) -> None:
    change(classifier, "layer.1.output.dense.weight", None)
    with pytest.raises(EnvironmentProblem, match=r"1 tensors .*layer\.1\.output\.dense\.weight"):
        load_model(classifier, 3)


def test_a_tensor_of_the_encoder_of_another_shape_is_named(classifier: Path) -> None:
    change(classifier, "word_embeddings.weight", torch.zeros(50, 24))
    with pytest.raises(EnvironmentProblem, match=r"misshapen .*word_embeddings"):
        load_model(classifier, 3)


def test_an_encoder_without_the_expected_places_is_refused(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"'gpt2' has not the places.*bert"):
        load_model(tmp_path, 2)


def test_code_that_a_checkpoint_brings_is_never_run(classifier: Path) -> None:
    config = json.loads((classifier / "config.json").read_text())
    config["model_type"] = "unheard_of"
    config["auto_map"] = {"AutoConfig": "evil.Config"}
    (classifier / "config.json").write_text(json.dumps(config))
    trace = classifier / "ran"
    (classifier / "evil.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Config: pass\n")
    with pytest.raises(EnvironmentProblem):
        load_model(classifier, 3)
    assert not trace.exists()


class Opens:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_objects_in_weights_are_not_loaded(classifier: Path) -> None:
    (classifier / "model.safetensors").unlink()
    trace = classifier / "ran"
    (classifier / "pytorch_model.bin").write_bytes(pickle.dumps({"w": Opens(trace)}, protocol=2))
    with pytest.raises(EnvironmentProblem, match="cannot be loaded"):
        load_model(classifier, 3)
    assert not trace.exists()


def test_a_hub_that_cannot_be_reached_is_missing_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Missing, match=r"no-such-model cannot be had from the hub.*name the folder"):
        load_model("nobody/no-such-model", 2)


@pytest.mark.parametrize(("known", "segments"), [(1, [0, 0]), (2, [1, 1])])
def test_a_model_of_one_segment_gets_one(tmp_path: Path, known: int, segments: list[int]) -> None:
    """Whatever its tokenizer says of a pair's second text, as BERT's does for some RoBERTas."""
    folder = tmp_path / "model"
    BertModel(BertConfig(**CONFIG, type_vocab_size=known)).save_pretrained(folder)
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "a", "b"]))
    wordpiece(tmp_path / "vocab.txt", 16).save_pretrained(folder)
    encoder = Encoder(load_tokenizer(folder), 16)
    assert encoder.encode(["a"], ["b"]).types.tolist() == [0, 0, 0, *segments]
    assert ("segments" in encoder.describe()) == (known == 1)
