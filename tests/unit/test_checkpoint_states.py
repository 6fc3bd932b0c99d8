"""Which state of a weights file is taken, under which names, and what is no weight at all."""

from __future__ import annotations

import argparse
import random
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_deits import IMAGES, full, one_sentence, quantized
from torch import Tensor, nn

from suite.cell import make_cell
from suite.choosing import options_from
from suite.errors import EnvironmentProblem, LowbitError, UsageError
from suite.models.checkpoint import (
    digest,
    load_fp,
    load_quantized,
    read_tensors,
    read_weights,
    save_weights,
)
from suite.models.p1_layout import to_p1
from suite.models.starting import load_whole, named_weights, start_model
from suite.options import Options

State = dict[str, Tensor]


def refused(act: Callable[[], Any], words: str, kind: type = EnvironmentProblem) -> str:
    with pytest.raises(kind, match=words) as caught:
        act()
    assert one_sentence(caught)
    return str(caught.value)


def same_model(state: State, reference: nn.Module) -> bool:
    model = full().eval()
    load_fp(model, state, source="here")
    with torch.no_grad():
        return torch.equal(model(IMAGES), reference.eval()(IMAGES))


# Several states


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A checkpoint with a state and its moving average, as timm's training script writes it."""
    path = tmp_path / "checkpoint.pth.tar"
    states = {"state_dict": full(seed=1).state_dict(), "state_dict_ema": full(seed=2).state_dict()}
    torch.save({"epoch": 9, "arch": "deit", "optimizer": {"state": {}}, **states}, path)
    return path


def test_a_file_with_two_states_asks_which(two: Path) -> None:
    said = refused(lambda: read_weights(two), "several states", UsageError)
    assert "state_dict, state_dict_ema" in said
    assert "--weights-state" in said


@pytest.mark.parametrize(("name", "seed"), [("state_dict", 1), ("state_dict_ema", 2)])
def test_the_named_state_is_taken(two: Path, name: str, seed: int) -> None:
    found = read_weights(two, name)
    assert found.state == name
    assert digest(found.tensors) == digest(full(seed=seed).state_dict())


@pytest.mark.parametrize("name", ["model_ema", "optimizer", "epoch"])
def test_a_state_that_is_not_there_is_answered_with_those_that_are(two: Path, name: str) -> None:
    said = refused(lambda: read_weights(two, name), f"no state '{name}'", UsageError)
    assert "state_dict, state_dict_ema" in said


def test_a_file_with_one_state_needs_no_name(tmp_path: Path) -> None:
    state = full().state_dict()
    torch.save({"model": state, "epoch": 3}, tmp_path / "w.pth")
    torch.save(state, tmp_path / "bare.pth")
    save_weights(tmp_path / "w.safetensors", state)
    assert read_weights(tmp_path / "w.pth").state == "model"
    for name in ("bare.pth", "w.safetensors"):
        assert read_weights(tmp_path / name).state == ""
        refused(lambda n=name: read_weights(tmp_path / n, "model"), "leave out", UsageError)


def test_metrics_beside_a_state_are_no_state(tmp_path: Path) -> None:
    more = {"metrics": {"top1": torch.tensor(81.5)}, "rng": {"cpu": torch.get_rng_state()}}
    torch.save({"state_dict": full().state_dict(), **more}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").state == "state_dict"


def test_a_damaged_state_does_not_make_the_other_one_the_only_one(tmp_path: Path) -> None:
    state = full().state_dict()
    torch.save({"state_dict": {**state, "x": 3}, "ema": state}, tmp_path / "w.pth")
    refused(
        lambda: read_weights(tmp_path / "w.pth"), r"several states \(state_dict, ema\)", UsageError
    )
    refused(lambda: read_weights(tmp_path / "w.pth", "state_dict"), "The entry 'x' .* no tensor")


def test_the_record_says_which_state_was_taken(two: Path) -> None:
    from small_deits import SPEC

    options = Options(weights=two, weights_state="state_dict_ema")
    cell = make_cell(
        method="fp32",
        model="deit_pico",
        task="fashion",
        recipe={"start": "pretrained", "epochs": 0},
    )
    model, origin = start_model(SPEC, cell, 10, None, options)
    assert origin["state"] == "state_dict_ema"
    assert origin["digest"] == digest(full(seed=2).state_dict())
    assert named_weights(cell, options) == {"digest": origin["digest"]}
    assert digest(dict(model.state_dict())) == origin["digest"]


def test_a_quantized_start_takes_the_named_state_too(tmp_path: Path) -> None:
    states = {"model": to_p1(quantized(seed=1)), "model_ema": to_p1(quantized(seed=2))}
    torch.save(states, tmp_path / "w.pth")
    model = quantized(seed=3, ready=False)
    found = load_whole(model, Options(weights=tmp_path / "w.pth", weights_state="model_ema"))
    assert found["state"] == "model_ema"
    with torch.no_grad():
        assert torch.equal(model(IMAGES), quantized(seed=2)(IMAGES))


def test_the_option_is_of_a_file(tmp_path: Path) -> None:
    given = {"weights": [str(tmp_path / "w.pth")], "weights-state": ["ema"]}
    assert options_from(given.get).weights_state == "ema"
    for wrong in ({"weights-state": ["ema"]}, {**given, "weights": [str(tmp_path)]}):
        refused(lambda w=wrong: options_from(w.get), "--weights FILE", UsageError)


# Names that wrappers leave


@pytest.mark.parametrize(
    "wrap",
    [
        lambda k: k,
        lambda k: f"module.{k}",
        lambda k: f"_orig_mod.{k}",
        lambda k: f"module._orig_mod.{k}",
        lambda k: f"_orig_mod.module.{k}",
        lambda k: f"module.module._orig_mod.{k}",
        lambda k: k.replace("blocks.0.", "blocks.0._orig_mod."),
        lambda k: k.replace("blocks.0.attn.", "module.blocks.0.attn._orig_mod."),
        lambda k: k.replace("blocks.0.mlp.", "_fsdp_wrapped_module.blocks.0.mlp.module."),
    ],
)
def test_wrapped_models_are_the_same_model(wrap: Callable[[str], str], tmp_path: Path) -> None:
    reference = full(seed=4)
    torch.save(
        {"state_dict": {wrap(k): v for k, v in reference.state_dict().items()}}, tmp_path / "w"
    )
    assert same_model(read_tensors(tmp_path / "w"), reference)


def test_a_compiled_part_of_a_real_model(tmp_path: Path) -> None:
    reference = full(seed=4)
    wrapped = full(seed=4)
    wrapped.blocks[0] = torch.compile(wrapped.blocks[0])
    torch.save(torch.compile(wrapped).state_dict(), tmp_path / "w.pth")
    assert any("blocks.0._orig_mod." in name for name in read_tensors(tmp_path / "w.pth"))
    assert same_model(read_tensors(tmp_path / "w.pth"), reference)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_one_tensor_under_two_names_is_refused(prefix: str) -> None:
    state = full(seed=1).state_dict()
    state[f"{prefix}head.bias"] = torch.ones(10)
    said = refused(lambda: load_fp(full(), state, source="w.pth"), "one tensor twice")
    assert f"{prefix}head.bias" in said
    quantized_state = to_p1(quantized())
    quantized_state[f"{prefix}head.alpha"] = quantized_state["head.alpha"]
    refused(
        lambda: load_quantized(quantized(ready=False), quantized_state, source="q"),
        "one tensor twice",
    )


def test_fused_and_separate_projections_together_are_refused() -> None:
    state = full(seed=1).state_dict()
    state["blocks.0.attn.qkv.bias"] = torch.zeros(192)
    refused(lambda: load_fp(full(), state, source="w"), r"1 unexpected \(blocks.0.attn.qkv.bias\)")


def test_an_entry_in_both_layouts_is_refused() -> None:
    model = quantized()
    state = {**to_p1(model), "head.weight_slot.quantizer.alpha": torch.ones(10)}
    refused(lambda: load_quantized(quantized(ready=False), state, source="q"), "keep one of them")


# Plain data


@pytest.mark.parametrize(
    "more",
    [
        {"args": argparse.Namespace(model="deit_pico", lr=5e-4, betas=[0.9, 0.999], out=None)},
        {"best_acc1": np.float64(81.5)},
        {"best_acc1": np.float32(81.5), "epoch": np.int64(3), "done": np.bool_(True)},
        {"best_acc1": torch.tensor(81.5), "optimizer": {"state": {}, "param_groups": []}},
    ],
)
def test_what_training_scripts_keep_beside_weights_is_plain_data(
    more: dict[str, Any], tmp_path: Path
) -> None:
    torch.save({"model": full(seed=1).state_dict(), **more}, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth")
    assert (found.state, digest(found.tensors)) == ("model", digest(full(seed=1).state_dict()))


def test_a_scalar_that_numpy_1_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": full(seed=1).state_dict(), "best": np.float64(1)}, path)
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content
    # The same bytes but for a module of as many letters: torch checks no sum of an entry.
    import zipfile

    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for entry in whole.namelist():
            old.writestr(entry, whole.read(entry).replace(b"numpy._core.", b"numpy.core."))
    assert read_weights(tmp_path / "old.pth").state == "model"


@pytest.mark.parametrize("content", [Path("x"), print, np.ones(3), np.array(["x"], dtype=object)])
def test_nothing_else_is_loaded(content: Any, tmp_path: Path) -> None:
    torch.save({"model": full().state_dict(), "more": content}, tmp_path / "w.pth")
    refused(lambda: read_weights(tmp_path / "w.pth"), "more than plain tensors")


# What is no weight


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.ones(10, dtype=torch.int64), "of another type .head.bias integer for weights"),
        (torch.ones(10, dtype=torch.bool), "head.bias bool for weights"),
        (torch.ones(10, dtype=torch.complex64), "head.bias complex64 for weights"),
        (torch.ones(10).to(torch.float8_e4m3fn), "head.bias float8_e4m3fn for weights"),
        (torch.full((10,), torch.nan), "NaN or infinity in 1 tensor.s. .head.bias"),
        (torch.full((10,), torch.inf), "NaN or infinity in 1 tensor.s. .head.bias"),
    ],
)
def test_what_cannot_be_weights_is_refused_by_name(value: Tensor, words: str) -> None:
    state, model = {**full(seed=1).state_dict(), "head.bias": value}, full(seed=2)
    before = digest(model.state_dict())
    refused(lambda: load_fp(model, state, source="w.pth"), words)
    assert digest(model.state_dict()) == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_are_weights(dtype: torch.dtype) -> None:
    state = {k: v.to(dtype) for k, v in full(seed=1).state_dict().items()}
    model = full(seed=2)
    load_fp(model, state, source="w.pth")
    assert torch.equal(model.head.weight, state["head.weight"].float())


def test_an_integer_is_allowed_where_the_model_has_one() -> None:
    from suite.models.checkpoint import fits

    model = nn.BatchNorm1d(3)
    fits(dict(model.state_dict()), dict(model.state_dict()), "here")
    counted = {**model.state_dict(), "num_batches_tracked": torch.tensor(3.0)}
    refused(lambda: fits(dict(model.state_dict()), counted, "w"), "tracked weights for integer")


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(3).to_sparse(),
        torch.ones(3, device="meta"),
        torch.zeros(1).expand(1000),
        3,
        None,
    ],
)
def test_an_entry_that_is_no_plain_tensor_is_named(value: Any, tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(3), "strange": value}}, tmp_path / "w.pth")
    refused(lambda: read_weights(tmp_path / "w.pth"), "The entry 'strange'")


# Bad input by the hundred

ODD: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: 3,
    lambda: 10**400,
    lambda: True,
    lambda: "x",
    lambda: b"bytes",
    lambda: [1, 2],
    dict,
    lambda: {"a": 1},
    lambda: {1: torch.ones(2)},
    lambda: OrderedDict(a=torch.ones(1)),
    lambda: torch.ones(2),
    lambda: torch.tensor(1.0),
    lambda: torch.empty(0),
    lambda: torch.ones(2, dtype=torch.complex64),
    lambda: torch.ones(2, dtype=torch.bool),
    lambda: torch.ones(2, dtype=torch.uint16),
    lambda: torch.full((3,), torch.nan),
    lambda: torch.full((3,), torch.inf),
    lambda: torch.zeros(1).expand(1000),
    lambda: torch.eye(3).to_sparse(),
    lambda: torch.eye(3).to_sparse_csr(),
    lambda: torch.ones(3, device="meta"),
    lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    lambda: torch.ones(3).to(torch.float8_e4m3fn),
    lambda: nn.Parameter(torch.ones(3)),
    lambda: np.float64(2),
    lambda: argparse.Namespace(a=1),
    lambda: torch.float32,
)
"""Values that stand where a tensor, a table or a number should."""

KEYS = (3, None, (1, 2), b"a", 1.5, "", ".", "module", "a" * 1000)


def altered(value: Tensor, dice: random.Random) -> Any:
    changes = (
        lambda: value.reshape(-1),
        lambda: value[None],
        lambda: value.to(torch.int64),
        lambda: value.to(torch.float16),
        lambda: value.to(torch.complex64),
        lambda: value * torch.nan,
        lambda: value[:0],
    )
    return dice.choice(changes)()


def harmed(state: State, dice: random.Random) -> dict[Any, Any]:
    """A state with one or two entries that are not what they should be."""
    found: dict[Any, Any] = dict(state)
    for _ in range(dice.randrange(1, 3)):
        key = dice.choice(list(state))
        odd = dice.choice(ODD)()
        kind = dice.randrange(6)
        if kind == 0:
            found[key] = odd
        elif kind == 1:
            found[dice.choice((*KEYS, f"module.{key}", f"_orig_mod.{key}"))] = state[key]
        elif kind == 2:
            found.pop(key, None)
        elif kind == 3 and state[key].ndim:
            found[key] = altered(state[key], dice)
        elif kind == 4:
            found[f"{key}.{dice.choice(('alpha', 'nbits', 'init_state', 'qkv'))}"] = odd
        else:
            found[key.replace("proj_q", "qkv")] = odd
    return found


def packed(state: dict[Any, Any], dice: random.Random) -> Any:
    """A checkpoint around it."""
    name = dice.choice(("state_dict", "model", "ema", "optimizer"))
    return dice.choice(
        (
            lambda: state,
            lambda: {name: state, "epoch": dice.choice(ODD)()},
            lambda: {name: state, "state_dict_ema": dict(state)},
            lambda: {name: state, dice.choice(KEYS): dice.choice(ODD)()},
            lambda: {name: dice.choice(ODD)()},
            dice.choice(ODD),
        )
    )()


def test_bad_checkpoints_are_one_sentence_each(tmp_path: Path) -> None:
    """1,200 of them: none ends in another exception, and no model gets what is no number."""
    warnings.simplefilter("ignore")  # torch's remarks on sparse and quantized tensors
    dice, ends = random.Random(0), Counter[str]()
    plain = full(seed=1).state_dict()
    states = (plain, to_p1(quantized(seed=2)))
    models = (full(), quantized(ready=False))
    for _ in range(600):
        torch.save(packed(harmed(dict(dice.choice(states)), dice), dice), tmp_path / "w.pth")
        for load, model in zip((load_fp, load_quantized), models, strict=True):
            try:
                found = read_weights(tmp_path / "w.pth", dice.choice(("", "", "state_dict_ema")))
                digest(found.tensors)
                load(model, found.tensors, source="w.pth")
            except LowbitError as problem:
                ends[type(problem).__name__] += 1
                assert str(problem).endswith(".") and "\n" not in str(problem)  # noqa: PT017, PT018
                continue
            ends["loaded"] += 1
            numbers = [v for v in model.state_dict().values() if isinstance(v, Tensor)]
            assert all(v.isfinite().all() for v in numbers)
    print(dict(ends))
    assert ends.total() == 1200
    assert min(ends["EnvironmentProblem"], ends["UsageError"], ends["loaded"]) > 20
