"""What every distilled text method must do, over its variants, bit-widths and settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from calibrated_texts import data, draw, logits, one_sentence, texts
from safetensors.torch import load_file
from torch import nn

from suite.audit import audit
from suite.cell import Recipe, make_cell
from suite.distilled_text import DistilledText
from suite.errors import UsageError
from suite.method import Finished, Progress
from suite.model_size import sizes_of
from suite.models.checkpoint import digest, save_weights
from suite.models.encoder import TextModel
from suite.models.text_catalog import BERT_PICO
from suite.recipes import recipe
from suite.registry import METHODS
from suite.runner import method_of as accepted

RECIPE = recipe("snippets-pico-binarybert", calibration_images=6)


def distilled_methods() -> list[str]:
    return [n for n in METHODS.names() if issubclass(METHODS.get(n), DistilledText)]


def method_of(name: str, **fields: Any) -> DistilledText:
    kind = METHODS.get(name)
    known = {
        "w_bits": kind.weight_bits,
        "a_bits": 8,
        "variant": next(iter(kind.variants)),
        "recipe": RECIPE,
    }
    cell = make_cell(method=name, model="bert_pico", task="snippets", **{**known, **fields})
    method: DistilledText = kind(cell)
    return method


def cells() -> Iterator[Any]:
    for name in distilled_methods():
        kind = METHODS.get(name)
        for variant in kind.variants:
            for bits in kind.activation_bits:
                fields = {"variant": variant, "a_bits": bits}
                yield pytest.param(name, fields, id=f"{name}-{variant}-a{bits}")
    yield pytest.param("ternarybert", {"settings": {"width": 0.5}}, id="ternarybert-half")


def placed(method: DistilledText, seed: int = 0) -> TextModel:
    model = BERT_PICO.skeleton(2, seed=seed).eval()
    method.place(model)
    return model


def calibrated(method: DistilledText, seed: int = 0) -> TextModel:
    model = placed(method, seed)
    method.initialise(model, draw())
    return model


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Weights of the cells that a method needs, as these would leave them, drawn at random."""
    folder = tmp_path_factory.mktemp("finished")

    def of(method: DistilledText) -> dict[str, Finished]:
        needed = {**method.needs(), "fp32": make_cell(**FP32)}
        found = {}
        for role, cell in needed.items():
            model = BERT_PICO.skeleton(2, seed=7)
            METHODS.get(cell.method)(cell).place(model)
            path = folder / f"{digest(model.state_dict())}.safetensors"
            save_weights(path, model.state_dict())
            found[role] = Finished(cell, path)
        return found

    return of


FP32 = {"method": "fp32", "model": "bert_pico", "task": "snippets"}


@pytest.mark.parametrize(("name", "fields"), list(cells()))
def test_the_contract(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """One model a cell, through its life: the checks build on each other."""
    method = method_of(name, **fields)
    model = calibrated(method)
    found = logits(model)
    assert torch.isfinite(found).all()
    check_audit(method, model)
    save_weights(tmp_path / "weights.safetensors", model.state_dict())
    again = placed(method_of(name, **fields), seed=1)
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(logits(again), found)
    protocol = method.protocol()
    assert json.loads(json.dumps(protocol, allow_nan=False)) == protocol
    json.dumps([method.diagnosis, sizes_of(model)], allow_nan=False)


@pytest.mark.parametrize(
    ("fields", "together"),
    [
        ({}, True),
        ({"a_bits": 4}, True),
        ({"a_bits": 32}, False),
        ({"settings": {"evaluation_range": "running"}}, False),
        ({"a_bits": 4, "settings": {"skewed": "symmetric"}}, False),
    ],
)
def test_the_protocol_holds_evaluations_batch_where_a_text_depends_on_it(
    fields: dict[str, Any], together: bool
) -> None:
    method = method_of("ternarybert", variant="binarybert", **fields)
    model = calibrated(method).eval()
    with torch.no_grad():
        whole = model(texts())
        alone = [model({k: v[i : i + 1] for k, v in texts().items()}) for i in range(len(whole))]
    differs = not torch.allclose(torch.cat(alone), whole, atol=1e-5)
    assert differs is together
    assert method.protocol().get("evaluation_batch") == (250 if together else None)


def check_audit(method: DistilledText, model: TextModel) -> None:
    report = audit(model, texts())
    assert report.ok, report.problems
    filled = [slot for slot in model.places.values() if slot.quantizer is not None]
    assert len(report.places) == len(filled)
    for slot in filled:
        expected = method.cell.w_bits if slot.kind == "weight" else method.cell.a_bits
        assert slot.quantizer.bits == expected


@pytest.mark.parametrize("name", distilled_methods())
@pytest.mark.parametrize("a_bits", [8, 4])
def test_every_parameter_is_trained_by_one_stage_and_no_stage_trains_what_it_leaves(
    name: str, a_bits: int, finished: Any
) -> None:
    method = method_of(name, a_bits=a_bits)
    method.receive(finished(method), 2, torch.device("cpu"))
    model = calibrated(method)
    reached: set[str] = set()
    for stage in method.stages():
        model.zero_grad(set_to_none=True)
        method.begin(stage.name, model)
        net = method.around(model)
        batch = next(data().train_batches(epoch=0, seed=0, batch=4))
        model.train()
        progress = Progress(0, 1, stage.name)
        loss = method.objective(net, batch.inputs, batch.targets, progress)
        assert loss.shape == ()
        loss.backward()
        for parameter_name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, (stage.name, parameter_name)
                assert torch.isfinite(parameter.grad).all(), (stage.name, parameter_name)
                reached.add(parameter_name)
            else:
                assert parameter.grad is None, (stage.name, parameter_name)
        assert {id(p) for p in net.parameters() if p.requires_grad} <= {
            id(p) for p in model.parameters()
        }
    assert reached == {name for name, _ in model.named_parameters()}


def switches() -> Iterator[Any]:
    for name in distilled_methods():
        for setting, field in METHODS.get(name).Settings.model_fields.items():
            default = field.default
            choices = (True, False) if field.annotation is bool else get_args(field.annotation)
            for value in (*choices, *OTHERS.get(setting, ())):
                if value != default:
                    yield pytest.param(name, setting, value, id=f"{name}-{setting}={value}")


OTHERS: dict[str, tuple[Any, ...]] = {
    "first_rate": (1.0,),
    "width": (0.5,),
    "weights": ("laq",),
    "weight_limit": (0.01,),
}


@pytest.mark.parametrize(("name", "setting", "value"), list(switches()))
def test_a_setting_changes_something(name: str, setting: str, value: Any, finished: Any) -> None:
    """Or an ablation would compare a cell with itself."""
    first, other = (behaviour(name, setting, chosen, finished) for chosen in ({}, {setting: value}))
    assert first != other


@pytest.mark.parametrize("name", distilled_methods())
def test_every_setting_is_tried(name: str) -> None:
    tried = {p.values[1] for p in switches() if p.values[0] == name}
    assert tried == set(METHODS.get(name).Settings.model_fields)


def behaviour(name: str, turned: str, settings: dict[str, Any], finished: Any) -> list[Any]:
    """What can change a number: stages, losses, gradients, initial state, evaluation."""
    variant = "binarybert" if name == "ternarybert" else "released"
    width = {"width": 0.5} if name == "ternarybert" and turned != "width" else {}
    method = method_of(name, variant=variant, settings={**width, **settings})
    found = finished(method)
    if turned == "rating_loss":
        return [method.protocol()["logit_loss"]]
    method.receive(found, 2, torch.device("cpu"))
    model = calibrated(method, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # the sign of a zero is a choice
                parameter.view(-1)[:2] = 0
        model.get_parameter("classifier.weight").copy_(torch.ones_like(model.classifier.weight))
    outputs = [float(logits(model).sum())]
    losses = []
    torch.manual_seed(0)
    model.train()
    for stage in method.stages():
        method.begin(stage.name, model)
        loss = method.around(model)(texts())
        loss.backward()
        losses.append((stage.name, stage.recipe.lr, float(loss.detach())))
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    alone = {key: value[1:] for key, value in texts().items()}
    with torch.no_grad():
        differs = not torch.equal(model.eval()(alone), logits(model)[1:])
    return [losses, outputs, digest(model.state_dict()), digest(grads), differs]


# Bad input


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("ternarybert", {"w_bits": 1}, "cannot quantize weights to 1 bits, only to 2"),
        ("binarybert", {"w_bits": 2, "a_bits": 2}, "cannot quantize weights to 2 bits, only to 1"),
        ("binarybert", {"a_bits": 1}, "cannot quantize activations to 1 bits, only to 2, 4, 8, 32"),
        ("binarybert", {"e_bits": 2}, "leave out --e-bits"),
        ("ternarybert", {"settings": {"width": 0.0}}, "greater than 0"),
        ("ternarybert", {"settings": {"stages": "three"}}, "'two' or 'joint'"),
        ("binarybert", {"recipe": Recipe(start="scratch")}, "must start from fp32"),
        ("binarybert", {"variant": "paper"}, "Unknown variant of binarybert 'paper'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    name: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        method_of(name, **fields)
    assert one_sentence(caught.value)


def test_a_recipe_must_say_what_the_cells_before_are_trained_by() -> None:
    method = method_of("binarybert", recipe=Recipe())
    with pytest.raises(UsageError, match=r"--recipe before=.*narrow=") as caught:
        method.needs()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "classes", "said"),
    [
        ({"task": "snippets-rating"}, 2, "was trained on snippets-rating, its student is to learn"),
        ({}, 3, "has 2 outputs, but snippets needs 3"),
        ({"model": "other"}, 2, "reads other tokens than bert_pico"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    fields: dict[str, Any], classes: int, said: str, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suite import finished as models_of

    plain = models_of._tokens
    monkeypatch.setattr(models_of, "_tokens", lambda m: {} if m == "other" else plain(m))
    method = method_of("ternarybert")
    found = finished(method)
    wrong = Finished(make_cell(**{**FP32, **fields}), found["fp32"].weights)
    with pytest.raises(UsageError, match=said) as caught:
        method.receive({"fp32": wrong}, classes, torch.device("cpu"))
    assert one_sentence(caught.value)


def test_a_teacher_is_needed_before_training() -> None:
    method = method_of("ternarybert")
    with pytest.raises(UsageError, match="before it received its teacher"):
        method.around(nn.Linear(1, 1))


@pytest.mark.parametrize("name", distilled_methods())
def test_a_method_describes_itself(name: str) -> None:
    kind = METHODS.get(name)
    assert (kind.name, kind.version >= 1, bool(kind.summary)) == (name, True, True)
    assert "arXiv" in kind.source
    words = " ".join(base.__doc__ or "" for base in kind.Settings.__mro__)
    assert [field for field in kind.Settings.model_fields if field not in words] == []


@pytest.mark.parametrize("name", distilled_methods())
def test_images_are_refused(name: str) -> None:
    bits = {"w_bits": METHODS.get(name).weight_bits, "a_bits": 8}
    variant = next(iter(METHODS.get(name).variants))
    cell = make_cell(method=name, model="deit_pico", task="fashion", variant=variant, **bits)
    with pytest.raises(UsageError, match="is about image"):
        accepted(cell)
