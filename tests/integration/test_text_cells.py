"""Text cells through the real path: data, weights, calibration or training, record, table."""

from __future__ import annotations

import os
import random
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from suite.cell import Cell, make_cell
from suite.grid import fp32_cell
from suite.options import Options
from suite.progress import Reporter
from suite.recipes import recipe
from suite.registry import TASKS
from suite.results import Record, Store
from suite.runner import cell_id, obtain
from tests.glue_files import BY_KEY, KEYS, LAYOUTS, WRITERS
from tests.integration.conftest import Command, complaint
from tests.integration.test_resume import killed_at
from tests.integration.text_cells import (
    CELLS,
    complete,
    finished,
    snippets_cell,
    write_encoder,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT and its tokenizer."""
    return write_encoder(tmp_path_factory.mktemp("models") / "someone's encoder")


# GLUE


def glue_cell(encoder: Path, key: str, **changes: Any) -> Cell:
    fields = {"start": "pretrained", "fp32_recipe": "", "calibration_images": 3, **changes}
    return make_cell(
        method="minmax_ptq",
        model=str(encoder),
        task=f"glue-{key}",
        w_bits=8,
        a_bits=8,
        seed=3,
        variant="released",
        recipe=recipe("glue-ptq", **{"max_length": 32, "fp32_seed": 0, **fields}),
    )


@pytest.mark.parametrize("key", KEYS)
def test_a_glue_task_gives_the_same_record_from_all_three_layouts(
    key: str, encoder: Path, awkward: Path
) -> None:
    metric = TASKS.get(f"glue-{key}").metric
    found = {}
    for layout in LAYOUTS:
        WRITERS[layout](awkward / layout, BY_KEY[key])
        found[layout] = finished(
            glue_cell(encoder, key), awkward / f"{layout} results", data=awkward / layout
        )
        complete(found[layout], metric)
    first = found["tsv"]
    for other in (found["saved"], found["parquet"]):
        assert other.metrics == first.metrics
        assert other.diagnosis == first.diagnosis
        for part in ("data", "weights", "start"):
            assert other.provenance[part] == first.provenance[part]
    assert first.protocol["evaluation"]["official_size"] is False
    assert first.protocol["calibration"] == "1 x 3 texts"
    if key == "stsb":
        kept = Store(awkward / "tsv results").beside(first.cell_id, first.run_id, "values.npy")
        assert ((np.load(kept) >= 0) & (np.load(kept) <= 5)).all()


def test_fine_tuning_is_the_prerequisite_of_a_quantized_glue_cell(
    encoder: Path, tmp_path: Path
) -> None:
    WRITERS["tsv"](tmp_path / "glue", BY_KEY["rte"])
    cell = glue_cell(encoder, "rte", start="fp32", fp32_recipe="glue-fp32", fp32_seed=1000)
    options = {"data": tmp_path / "glue"}
    record = finished(cell, tmp_path / "results", **options)
    complete(record, "accuracy")
    store = Store(tmp_path / "results")
    (trained,) = store.records(cell_id(fp32_cell(cell)))
    complete(trained, "accuracy", quantized=False)
    assert trained.run_id == record.needs["fp32"]
    assert [row["steps"] for row in trained.history] == [2, 2, 2]
    assert trained.cell["seed"] == 1000
    assert record.provenance["start"]["digest"] == trained.provenance["weights"]
    assert record.history == []
    again = obtain(cell, Options(results=tmp_path / "results", **options), Reporter(quiet=True))
    assert again.stored


# The shipped sentences


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the FP32 cell that the others start from."""
    folder = tmp_path_factory.mktemp("text") / "results"
    finished(fp32_cell(snippets_cell("peg")), folder)
    return folder


@pytest.mark.parametrize("method", CELLS)
def test_the_methods_have_complete_records_on_the_shipped_sentences(
    method: str, trained: Path
) -> None:
    cell = snippets_cell(method)
    record = finished(cell, trained)
    complete(record, "accuracy")
    (before,) = Store(trained).records(cell_id(fp32_cell(cell)))
    assert record.needs == {"fp32": before.run_id}
    calibrated = method != "range_qat"
    assert ("places" in record.diagnosis) is calibrated
    assert len(record.history) == (0 if calibrated else 2)
    bits = {name: place["bits"] for name, place in record.audit["places"].items()}
    words = next(v for k, v in bits.items() if "word_embeddings" in k)
    assert words == (cell.e_bits or cell.w_bits)
    wide = [name for name, b in bits.items() if b == 16]
    assert len(wide) == (6 if method == "mixed_precision" else 0)
    grouped = [n for n, p in record.audit["places"].items() if p["groups"] > 1]
    assert len(grouped) == (6 if method == "peg" else 0)
    check_files(record, trained, new_weights=method in ("adaround", "range_qat"))


def check_files(record: Record, results: Path, new_weights: bool) -> None:
    """What lies beside a record is what it names, and its weights are kept only where new."""
    paths = {key: results / "records" / record.cell_id / f for key, f in record.files.items()}
    assert all(path.is_file() for path in paths.values())
    assert ("weights" in paths) is new_weights
    if not new_weights:
        assert paths["quantizers"].stat().st_size < 100_000
        assert all(".quantizer." in name for name in load_file(paths["quantizers"]))
    if "places" in record.diagnosis:
        assert set(load_file(paths["outliers"])) == set(record.diagnosis["places"])
    assert len(np.load(paths["correct"])) == -(-int(record.metrics["samples"]) // 8)


def test_another_seed_is_another_draw_from_the_same_fp32_model(trained: Path) -> None:
    first, second = (finished(snippets_cell("minmax_ptq", seed=seed), trained) for seed in (0, 1))
    assert first.needs == second.needs
    assert first.diagnosis["damage"] != second.diagnosis["damage"]


def test_ratings_are_calibrated_scored_and_kept(tmp_path: Path) -> None:
    record = finished(snippets_cell("minmax_ptq", task="snippets-rating"), tmp_path)
    complete(record, TASKS.get("snippets-rating").metric)
    values = np.load(tmp_path / "records" / record.cell_id / record.files["values"])
    assert len(values) == record.metrics["samples"]


def test_learned_ranges_killed_twice_and_resumed_are_bit_identical(
    trained: Path, tmp_path: Path
) -> None:
    cell = snippets_cell("range_qat")
    undisturbed = finished(cell, trained)
    before = fp32_cell(cell)
    for part in ("records", "work"):
        shutil.copytree(trained / part / cell_id(before), tmp_path / part / cell_id(before))
    steps = random.Random(os.urandom(8))
    first = steps.randint(2, 3)
    second = steps.randint(2, 6 - first)  # in the first step nothing was saved since resuming
    print(f"killed in step {first}, then in step {second} after resuming")
    for step in (first, second):
        assert killed_at(cell, tmp_path, step) == -9
        assert not list(Store(tmp_path).records(undisturbed.cell_id))
    resumed = finished(cell, tmp_path)
    assert resumed.execution["resumed"] == 2
    assert resumed.provenance["weights"] == undisturbed.provenance["weights"]
    assert resumed.metrics == undisturbed.metrics
    losses = [[row["train_loss"] for row in r.history] for r in (undisturbed, resumed)]
    assert losses[0] == losses[1]


def test_a_trained_quantized_model_can_be_evaluated_from_its_file(
    trained: Path, tmp_path: Path
) -> None:
    record = finished(snippets_cell("range_qat"), trained)
    path = trained / "records" / record.cell_id / record.files["weights"]
    cell = snippets_cell("range_qat")
    again = cell.model_copy(
        update={"recipe": cell.recipe.model_copy(update={"start": "quantized", "epochs": 0})}
    )
    found = finished(again, tmp_path, weights=path)
    assert found.metrics["accuracy"] == record.metrics["accuracy"]
    assert found.provenance["weights"] == record.provenance["weights"]


# The picture of outliers


def test_the_picture_of_outliers_is_written_and_parses(
    trained: Path,
    tmp_path: Path,
    run: Command,
) -> None:
    record = finished(snippets_cell("peg"), trained)
    out = tmp_path / "some pictures"
    words = ("outliers", record.cell_id, "--out", str(out), "--results", str(trained))
    done = run(*words)
    assert done.returncode == 0, done.stderr
    png, svg = (Path(line) for line in done.stdout.splitlines())
    with Image.open(png) as image:
        image.load()
        assert min(image.size) > 500
        assert np.asarray(image.convert("L")).std() > 10
    words_in = {"".join(e.itertext()).strip() for e in ET.parse(svg).iter() if "text" in e.tag}
    assert {"FFN output h", "embedding dimension", "nothing left out", "h1"} <= words_in
    first = svg.read_bytes()
    run(*words)
    assert svg.read_bytes() == first


def test_a_cell_without_a_diagnosis_has_no_picture(
    trained: Path,
    tmp_path: Path,
    run: Command,
) -> None:
    for cell in (snippets_cell("range_qat"), fp32_cell(snippets_cell("peg"))):
        record = finished(cell, trained)
        words = ("outliers", record.cell_id, "--out", str(tmp_path), "--results", str(trained))
        assert "holds no diagnosis" in complaint(run(*words), 3)
    words = ("outliers", "no-such-cell", "--out", str(tmp_path), "--results", str(trained))
    assert "beginning of one cell id" in complaint(run(*words), 2)
    assert not list(tmp_path.iterdir())
