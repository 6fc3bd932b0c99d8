"""Weights files in every layout: what fits is loaded, all else is refused."""

from __future__ import annotations

import pickle
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from small_deits import IMAGES, SPEC, full, one_sentence, quantized
from torch import Tensor, nn

from suite.errors import EnvironmentProblem, Missing
from suite.models.catalog import DEIT_PICO
from suite.models.checkpoint import (
    CONTAINERS,
    digest,
    load_fp,
    load_quantized,
    pretrained,
    read_tensors,
    save_weights,
)
from suite.models.p1_layout import from_p1, is_p1, to_p1

# Files


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt", "w.bin"])
def test_weights_come_back_from_a_file(awkward: Path, name: str) -> None:
    state, path = full().state_dict(), awkward / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    found = read_tensors(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("container", CONTAINERS)
def test_weights_are_found_in_a_training_scripts_container(tmp_path: Path, container: str) -> None:
    state = full().state_dict()
    content = {"epoch": 3, "arch": "deit", container: state, "best_acc1": 72.5, "optimizer": {}}
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    assert read_tensors(tmp_path / "checkpoint.pth.tar").keys() == state.keys()


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(Missing, match="--weights") as caught:
            read_tensors(path)
        assert one_sentence(caught)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", bytes(100), b"<html>404</html>"], ids=["empty", "text", "0", "html"]
)
def test_a_file_that_is_no_weights_file_says_so(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(EnvironmentProblem, match="not a weights file") as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert one_sentence(caught)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_a_damaged_file_is_an_expected_error(tmp_path: Path, kind: str) -> None:
    """Cut off anywhere, or with some bytes changed, as a bad disk or copy leaves it."""
    state, path = {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(3)}, tmp_path / "w.pth"
    if kind == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole, dice = path.read_bytes(), random.Random(0)
    for turn in range(120):
        damaged = bytearray(whole[: dice.randrange(len(whole))] if turn % 2 else whole)
        for _ in range(0 if turn % 2 else 4):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        with suppress(EnvironmentProblem):  # a changed value is not noticed here
            read_tensors(path)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    for name, content in (("raw.pth", pickle.dumps(Trap(), protocol=2)), ("saved.pth", None)):
        path = tmp_path / name
        path.write_bytes(content) if content else torch.save({"model": Trap()}, path)
        with pytest.raises(EnvironmentProblem, match="more than plain tensors") as caught:
            read_tensors(path)
        assert one_sentence(caught)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"state_dict": {}},
        {"epoch": 3},
        [torch.ones(2)],
        torch.ones(2),
        {"a": torch.ones(2), "b": 1},
    ],
    ids=["empty", "empty container", "no weights", "list", "tensor", "mixed"],
)
def test_a_file_without_a_table_of_weights_says_what_one_is(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(EnvironmentProblem, match="must be a state_dict") as caught:
        read_tensors(tmp_path / "w.pth")
    assert one_sentence(caught)


def test_saved_weights_are_safetensors_with_the_same_digest(tmp_path: Path) -> None:
    state = quantized().state_dict()
    save_weights(tmp_path / "new" / "w.safetensors", state)
    found = read_tensors(tmp_path / "new" / "w.safetensors")
    assert digest(found) == digest(state)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["w.safetensors"]


def test_the_digest_sees_names_shapes_types_and_values() -> None:
    base = {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(2, dtype=torch.int32)}
    swapped = dict(reversed(base.items()))
    changes = [
        {**base, "a": torch.tensor([1.0, 3.0])},
        {**base, "a": torch.tensor([[1.0], [2.0]])},
        {**base, "b": torch.zeros(2)},
        {"c": base["a"], "b": base["b"]},
    ]
    assert digest(swapped) == digest(base)
    assert len({digest(state) for state in (base, *changes)}) == 5


def test_a_model_without_public_weights_asks_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="--weights"):
        pretrained(DEIT_PICO, None)
    torch.save(full().state_dict(), tmp_path / "w.pth")
    state, found, origin = pretrained(DEIT_PICO, tmp_path / "w.pth")
    assert (found, origin) == (digest(state), "w.pth")


# Full-precision layouts


def timm_layout() -> tuple[dict[str, Tensor], nn.Module]:
    torch.manual_seed(1)
    model = timm.models.vision_transformer.VisionTransformer(
        img_size=28, patch_size=7, in_chans=1, num_classes=10, embed_dim=64, depth=1, num_heads=4
    )
    return model.state_dict(), model.eval()


def p1_layout() -> tuple[dict[str, Tensor], nn.Module]:
    """Separate projections under the prefix of a parallel wrapper."""
    model = full(seed=3)
    return {f"module.{name}": value for name, value in model.state_dict().items()}, model.eval()


def p1_quantized_layout() -> tuple[dict[str, Tensor], nn.Module]:
    """Weights with P1's quantizer entries beside them, which a full-precision model ignores."""
    reference = full(seed=4).eval()
    return {f"module.{k}": v for k, v in to_p1(quantized(seed=4)).items()}, reference


@pytest.mark.parametrize("layout", [timm_layout, p1_layout, p1_quantized_layout])
def test_full_precision_weights_load_from_every_layout(layout: Any) -> None:
    state, reference = layout()
    model = full().eval()
    load_fp(model, state, source="here")
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES), reference(IMAGES), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("head.bias"), r"1 missing \(head.bias\)"),
        (lambda s: s.update(extra=torch.ones(1)), r"1 unexpected \(extra\)"),
        (
            lambda s: s.update({"head.bias": torch.ones(7)}),
            r"1 misshapen \(head.bias \(7,\) for \(10,\)\)",
        ),
    ],
)
def test_weights_that_do_not_fit_name_the_keys_and_change_nothing(change: Any, words: str) -> None:
    state, model = full(seed=9).state_dict(), full()
    change(state)
    before = digest(model.state_dict())
    with pytest.raises(EnvironmentProblem, match=words) as caught:
        load_fp(model, state, source="w.pth")
    assert "w.pth" in str(caught.value)
    assert one_sentence(caught)
    assert digest(model.state_dict()) == before


def test_weights_of_another_model_name_a_few_of_many_keys() -> None:
    with pytest.raises(EnvironmentProblem, match=r"16 unexpected \(blocks.1.*, \.\.\.\)"):
        load_fp(full(), replace(SPEC, depth=2).build().state_dict(), source="two blocks")


# P1's quantized layout


@pytest.mark.parametrize("settings", [{}, {"offset": True}, {"train_bits": True}])
def test_a_quantized_model_survives_the_trip_through_p1s_layout(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    first = quantized(seed=5, **settings)
    state = {f"module.{name}": value for name, value in to_p1(first).items()}
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "checkpoint.pth.tar")
    second = quantized(seed=6, ready=False, **settings)
    load_quantized(second, read_tensors(tmp_path / "checkpoint.pth.tar"), source="trip")
    with torch.no_grad():
        assert torch.equal(second(IMAGES), first(IMAGES))
    assert second.state_dict().keys() == first.state_dict().keys()


def test_the_suites_own_layout_loads_too() -> None:
    first, second = quantized(seed=5), quantized(seed=6, ready=False)
    load_quantized(second, first.state_dict(), source="own")
    with torch.no_grad():
        assert torch.equal(second(IMAGES), first(IMAGES))


def test_p1s_layout_names_entries_as_its_code_does() -> None:
    state = to_p1(quantized(bits=3))
    assert is_p1(state)
    assert not is_p1(full().state_dict())
    assert state["blocks.0.attn.proj_q.nbits"].tolist() == [3.0]
    assert state["head.nbits"].tolist() == state["patch_embed.quant.nbits"].tolist() == [8.0]
    assert state["blocks.0.mlp.quant2.beta"].shape == (7,)
    assert "blocks.0.mlp.quant1.beta" not in state
    own = {name for name in state if name.rsplit(".", 1)[-1] in ("alpha", "beta", "nbits")}
    assert own.isdisjoint(quantized().state_dict())
    entries = [name for name in state if name.endswith(".init_state")]
    assert len(entries) == 8 + 10
    assert all(state[name].tolist() == [1.0] for name in entries)


def test_a_checkpoint_of_other_bits_is_refused() -> None:
    state = to_p1(quantized(bits=4))
    with pytest.raises(EnvironmentProblem, match="4 bits, the cell to 3") as caught:
        load_quantized(quantized(bits=3, ready=False), state, source="w4")
    assert one_sentence(caught)


def test_a_per_head_checkpoint_is_refused_in_one_sentence() -> None:
    """P1's --head-wise keeps a bit-width for each head; no cell has such a quantizer."""
    state = to_p1(quantized())
    state["blocks.0.attn.quant_q.nbits"] = torch.full((4,), 3.0)
    with pytest.raises(EnvironmentProblem, match=r"blocks\.0\.attn\.quant_q") as caught:
        load_quantized(quantized(ready=False), state, source="head-wise")
    assert one_sentence(caught)


@pytest.mark.parametrize("entry", ["alpha", "beta", "init_state"])
def test_a_quantized_checkpoint_without_an_entry_is_refused(entry: str) -> None:
    state = to_p1(quantized())
    del state[f"blocks.0.mlp.quant2.{entry}"]
    with pytest.raises(EnvironmentProblem, match=r"1 missing \(blocks.0.mlp.quant2.quantizer"):
        load_quantized(quantized(ready=False), state, source="partial")


def test_an_uninitialised_entry_stays_uninitialised() -> None:
    model = quantized()
    state = {**to_p1(model), "head.init_state": torch.zeros(1)}
    assert not from_p1(model, state)["head.weight_slot.quantizer._extra_state"]
