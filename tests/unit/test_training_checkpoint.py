"""Checkpoints of a running training: it goes on from its own, and refuses every other."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_deits import IMAGES, SPEC, one_sentence, quantized
from torch import nn

from suite import checkpoint
from suite.cell import Recipe
from suite.errors import EnvironmentProblem
from suite.models.checkpoint import digest
from suite.optimize import adamw, optimizer_of, set_rate

DATA = {"train": "aa", "validation": "bb"}


def trained(seed: int = 0, steps: int = 2) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = quantized(seed=seed)
    optimizer = adamw(model, Recipe())
    for _ in range(steps):
        optimizer.zero_grad()
        model(IMAGES).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_a_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    model, optimizer = trained(seed=0)
    state = checkpoint.State(
        cell="me", data=DATA, number=2, step=7, history=[{"epoch": 0}], loss=1.5
    )
    checkpoint.save(path, state, model, optimizer)
    again, fresh = trained(seed=1, steps=0)
    found = checkpoint.load(path, "me", DATA, again, fresh)
    assert found == replace(state, resumed=1)
    for net, chosen in ((model, optimizer), (again, fresh)):
        chosen.zero_grad()
        net(IMAGES).square().sum().backward()
        chosen.step()
    assert digest(again.state_dict()) == digest(model.state_dict())


RESTS = {"start": "aa", "fp32": "aa", "soft labels": "cc"}


@pytest.mark.parametrize(
    ("here", "words"),
    [
        ({**RESTS, "start": "bb"}, r"start \(aa, here bb\); name those"),
        ({**RESTS, "fp32": "bb"}, r"fp32 \(aa, here bb\)"),
        ({**RESTS, "soft labels": "dd"}, r"soft labels \(cc, here dd\)"),
        ({"start": "aa", "fp32": "aa"}, r"soft labels \(cc, here none\)"),
        ({**RESTS, "teacher": "ee"}, r"teacher \(none, here ee\)"),
    ],
)
def test_a_training_goes_on_from_what_it_began_with_alone(
    tmp_path: Path, here: dict[str, str], words: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, checkpoint.State(cell="me", data=DATA, rests=RESTS), *trained())
    assert checkpoint.load(path, "me", DATA, *trained(steps=0), RESTS) is not None
    with pytest.raises(EnvironmentProblem, match=words):
        checkpoint.load(path, "me", DATA, *trained(steps=0), here)


def test_a_checkpoint_that_does_not_say_what_it_rests_on_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, checkpoint.State(cell="me", data=DATA), *trained())
    content = torch.load(path, weights_only=True)
    del content["state"]["rests"]
    torch.save(content, path)
    refuse(path, "does not say on which weights and labels it rests")


def test_a_checkpoint_with_nan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    model, optimizer = trained()
    with torch.no_grad():
        model.head.bias[0] = torch.nan
    checkpoint.save(path, checkpoint.State(cell="me", data=DATA), model, optimizer)
    refuse(path, r"holds NaN or infinity in head.bias; .* --fresh")


ODD = [
    *((("state",), value) for value in (5, None, [1])),
    *((("model",), value) for value in (5, "x", torch.ones(2))),
    *((("optimizer",), value) for value in (None, {}, {"param_groups": [], "state": {}})),
    *((("state", "number"), value) for value in (None, "x", -1, 2.5, torch.nan, torch.ones(2))),
    (("state", "step"), -1),
    (("state", "loss"), torch.nan),
    (("state", "resumed"), "x"),
    (("state", "data"), [1]),
    (("state", "history"), [{"top1": torch.nan}]),
    (("state", "threads"), {"a": 1}),
    (("state", "rests"), 5),
    (("model", "head.bias"), None),
    (("model", "head.bias"), torch.zeros(10, dtype=torch.int32)),
    (("model", "head.bias"), torch.zeros(10, dtype=torch.complex64)),
    (("model", 7), torch.zeros(1)),
    (("optimizer", "state"), {0: 5}),
    (("optimizer", "state", 99), {}),
    (("optimizer", "state", 0, "exp_avg"), torch.ones(7, 3)),
    (("optimizer", "state", 0, "exp_avg"), "x"),
    (("optimizer", "state", 0, "step"), torch.tensor(torch.nan)),
    (("optimizer", "param_groups"), 5),
    (("optimizer", "param_groups", 0, "params"), [1]),
    (("optimizer", "param_groups", 0, "lr"), torch.inf),
    (("optimizer", "param_groups", 0, "betas"), (0.5, 0.5)),
    (("optimizer", "param_groups", 1, "weight_decay"), 5.0),
]


@pytest.mark.parametrize(("where", "value"), ODD, ids=[str(i) for i in range(len(ODD))])
def test_plain_data_that_is_no_training_is_refused(
    whole: Path, tmp_path: Path, where: tuple[Any, ...], value: Any
) -> None:
    content = torch.load(whole, weights_only=True)
    *above, last = where
    part = content
    for name in above:
        part = part[name]
    part[last] = value
    path = tmp_path / "odd.pt"
    torch.save(content, path)
    assert checkpoint.threads_of([path]) == 0
    refuse(path, "damaged|not a training checkpoint|another model")


def test_moments_of_nan_are_refused(whole: Path, tmp_path: Path) -> None:
    """The weights are still numbers, the next step would not be."""
    content = torch.load(whole, weights_only=True)
    content["optimizer"]["state"][0]["exp_avg_sq"].view(-1)[0] = torch.nan
    torch.save(content, tmp_path / "odd.pt")
    refuse(tmp_path / "odd.pt", "exp_avg_sq of parameter 0 holds NaN")


@pytest.mark.parametrize("name", ["adamw", "lamb", "bertadam"])
def test_every_optimizer_goes_on_from_its_own_checkpoint(tmp_path: Path, name: str) -> None:
    recipe = Recipe(optimizer=name, quantizer_lr=1e-5)
    model, path = quantized(seed=0), tmp_path / "checkpoint.pt"
    optimizer = optimizer_of(model, recipe)
    for rate in (1e-3, 5e-4):
        set_rate(optimizer, rate)
        optimizer.zero_grad()
        model(IMAGES).square().sum().backward()
        optimizer.step()
    checkpoint.save(path, checkpoint.State(cell="me", data=DATA, step=2), model, optimizer)
    again = quantized(seed=1)
    assert checkpoint.load(path, "me", DATA, again, optimizer_of(again, recipe)) is not None
    assert digest(again.state_dict()) == digest(model.state_dict())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "checkpoint.pt"
    checkpoint.save(path, checkpoint.State(cell="me", data=DATA), *trained())
    return path


def test_no_checkpoint_is_a_new_start(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "none.pt", "me", DATA, *trained(steps=0)) is None


def refuse(path: Path, words: str, cell: str = "me", model: nn.Module | None = None) -> None:
    """Loading `path` fails with `words` in one sentence that says what to do."""
    fresh = quantized(seed=1) if model is None else model
    before = digest(fresh.state_dict())
    with pytest.raises(EnvironmentProblem, match=words) as caught:
        checkpoint.load(path, cell, DATA, fresh, adamw(fresh, Recipe()))
    assert "--fresh" in str(caught.value)
    assert str(path) in str(caught.value)
    assert one_sentence(caught)
    assert digest(fresh.state_dict()) == before


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, checkpoint.State(cell="me"), *trained())
    return path


def test_a_checkpoint_of_another_cell_is_refused(stored: Path) -> None:
    refuse(stored, "belongs to the cell me, not to you", cell="you")


def test_a_checkpoint_of_a_training_on_other_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    state = checkpoint.State(cell="me", data={**DATA, "train": "cc"})
    checkpoint.save(path, state, *trained())
    refuse(path, r"on other data \(digests train cc, validation bb, here train aa, validation bb")


def test_a_checkpoint_of_another_model_is_refused(stored: Path) -> None:
    refuse(
        stored, "of another model: [0-9]+ entries differ", model=replace(SPEC, classes=7).build()
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_half_written_checkpoint_is_refused(stored: Path, share: float) -> None:
    whole = stored.read_bytes()
    stored.write_bytes(whole[: int(share * len(whole))])
    refuse(stored, "cannot be read")


@pytest.mark.parametrize(
    "content", [b"hello", bytes(64), pickle.dumps(Path("x"))], ids=["text", "zeros", "pickle"]
)
def test_a_file_that_is_no_checkpoint_is_refused(stored: Path, content: bytes) -> None:
    stored.write_bytes(content)
    refuse(stored, "cannot be read")


def test_other_plain_data_is_refused(stored: Path) -> None:
    for content in ([1, 2], {"model": {}, "optimizer": {}}, torch.ones(3)):
        torch.save(content, stored)
        refuse(stored, "not a training checkpoint")


def test_a_checkpoint_of_another_version_is_refused(stored: Path) -> None:
    """A field of the state that this version does not have."""
    content = torch.load(stored, weights_only=True)
    content["state"]["surprise"] = 1
    torch.save(content, stored)
    refuse(stored, "checkpoint")


def test_a_save_that_fails_leaves_the_old_checkpoint(stored: Path, monkeypatch: Any) -> None:
    before = stored.read_bytes()

    def half(content: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(EnvironmentProblem, match="No space left"):
        checkpoint.save(stored, checkpoint.State(cell="me"), *trained(steps=0))
    assert stored.read_bytes() == before
    assert [p.name for p in stored.parent.iterdir()] == [stored.name]
