"""Bad input: one sentence on what was wrong and what to do, and the exit code of its kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from suite.models.catalog import DEIT_PICO
from suite.models.checkpoint import save_weights
from tests.integration.conftest import BRIEF, Command, complaint

pytestmark = pytest.mark.usefixtures("fewer")

FASHION = ("run", "--task=fashion", "--threads=1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method=variatoin",), "Did you mean 'variation'?"),
        (("--model=deit",), "Unknown model 'deit'"),
        (("--task=fashon",), "Did you mean 'fashion'?"),
        (("--method=variation", "--variant=corected"), "Did you mean 'corrected'?"),
        (("--bits=0",), "whole numbers from 1 to 32"),
        (("--bits=33",), "whole numbers from 1 to 32"),
        (("--bits=2.5",), "whole numbers from 1 to 32"),
        (("--bits=two",), "whole numbers from 1 to 32"),
        (("--method=lsq", "--bits=1"), "it can do 2, 3, 4, 5, 6, 7, 8"),
        (("--method=fp32", "--bits=2"), "it can do 32"),
        (("--method=qvit", "--bits=1"), "it can do 2, 3, 4, 5, 6, 7, 8"),
        (("--method=qvit", "--model=deit_pico", "--task=fashion"), "No cell fits"),
        (("--method=qvit", "--set=teacher=deit_small_distilled"), "has classes 1000 where"),
        (("--method=lsq_plus", "--set=start=max"), "'least_squares' or 'minmax'"),
        (("--method=qvit", "--recipe=optimizer=sgd"), "'adamw'"),
        (("--method=lsq", "--model=deit_pico", "--task=imagenet"), "No cell fits"),
        (("--method=lsq", "--set=ditsill=true"), "valid: distill, edge_bits"),
        (("--method=lsq", "--recipe=epoch=3"), "batch_size"),
        (("--method=lsq", "--recipe=crop_scale=[0.9, 0.1]"), "crop_scale"),
        (("--method=lsq", "--recipe=crops=4", "--recipe=lr=-1"), "lr"),
        (("--method=lsq", "--seed=-1"), "--seed cannot be '-1'"),
        (("--method=lsq", "--compile=perhaps"), "valid: auto, on, off"),
        (("--method=lsq", "--device=tpu"), "valid: auto, cpu, cuda"),
    ],
)
def test_usage(words: tuple[str, ...], said: str, run: Command, tmp_path: Path) -> None:
    done = run("run", *words, "--results", str(tmp_path / "results"))
    assert said in complaint(done, 2)
    assert not list(tmp_path.rglob("*.json"))


def test_a_slip_as_a_shell_sees_it(shell: Command, tmp_path: Path) -> None:
    done = shell("run", "--method=variatoin", f"--results={tmp_path}")
    assert "Did you mean 'variation'?" in complaint(done, 2)


def test_the_same_words_in_pytest(tmp_path: Path) -> None:
    import subprocess
    import sys

    root = Path(__file__).parents[2]
    words = [sys.executable, "-m", "pytest", "suite", "--method=variatoin", f"--results={tmp_path}"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Did you mean 'variation'?" in done.stdout + done.stderr


def test_no_imagenet(run: Command, tmp_path: Path) -> None:
    done = run(
        "run", "--task=imagenet", "--method=fp32", f"--results={tmp_path}", LOWBIT_IMAGENET=""
    )
    assert "set $LOWBIT_IMAGENET or --data" in complaint(done, 3)


def test_no_weights(tree: Path, run: Command, shell: Command, tmp_path: Path) -> None:
    words = ("--task=imagenet", "--method=fp32", f"--data={tree}", f"--results={tmp_path}")
    done = run("run", *words, "--weights=/no/such/file.pt")
    assert "no weights file /no/such/file.pt" in complaint(done, 3)
    # The hub's library reads these once, when it is loaded.
    done = shell("run", *words, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hub"))
    assert "--weights FILE" in complaint(done, 3)


@pytest.mark.parametrize("harm", ["no val", "empty class", "other classes", "broken", "truncated"])
def test_harmed_image_folders(harm: str, tree: Path, run: Command, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(tree, root)
    image = next((root / "val" / "n01440764").iterdir())
    if harm == "no val":
        shutil.rmtree(root / "val")
    elif harm == "empty class":
        for file in (root / "train" / "n01443537").iterdir():
            file.unlink()
    elif harm == "other classes":
        (root / "val" / "n01484850").rename(root / "val" / "n01491361")
    elif harm == "broken":
        image.write_bytes(b"this is no JPEG")
    else:
        image.write_bytes(image.read_bytes()[:700])
    weights = tmp_path / "tiny.safetensors"
    from suite.models.catalog import DEIT_TINY

    save_weights(weights, DEIT_TINY.build().state_dict())
    words = ("--task=imagenet", "--method=fp32", f"--data={root}", f"--weights={weights}")
    done = run("run", *words, f"--results={tmp_path / 'r'}", "--threads=1", "--workers=1")
    said = complaint(done, 3)
    expected = {
        "no val": "it has no val/",
        "empty class": "holds no image",
        "other classes": "differ (n01484850, n01491361)",
        "broken": f"The image {image} does not decode",
        "truncated": f"The image {image} does not decode",
    }
    assert expected[harm] in said


def test_weights_of_another_model_and_damaged_ones(
    run: Command, tree: Path, tmp_path: Path
) -> None:
    other = tmp_path / "pico.safetensors"
    save_weights(other, DEIT_PICO.build().state_dict())
    words = ("--task=imagenet", "--method=fp32", f"--data={tree}", f"--results={tmp_path / 'r'}")
    said = complaint(run("run", *words, f"--weights={other}"), 3)
    assert "do not fit this model" in said
    assert "misshapen" in said
    other.write_bytes(other.read_bytes()[:5000])
    assert "truncated" in complaint(run("run", *words, f"--weights={other}"), 3)
    unsafe = tmp_path / "unsafe.pt"
    torch.save({"state_dict": {"w": torch.ones(1)}, "hook": print}, unsafe)
    assert "more than plain tensors" in complaint(run("run", *words, f"--weights={unsafe}"), 3)


def test_a_half_written_checkpoint(results: Path, run: Command) -> None:
    words = ("run", "--method=lsq", "--bits=2", *BRIEF, f"--results={results}")
    assert run(*words).returncode == 0
    (work,) = results.glob("work/lsq-*")
    (work / "state").mkdir(exist_ok=True)
    (work / "state" / "checkpoint.pt").write_bytes(b"half")
    shutil.rmtree(results / "records" / work.name)
    assert "start over with --fresh" in complaint(run(*words), 3)
    assert run(*words, "--fresh").returncode == 0


def test_a_newer_and_a_damaged_record(results: Path, run: Command) -> None:
    words = ("run", "--method=lsq", "--bits=2", *BRIEF, f"--results={results}")
    assert run(*words).returncode == 0
    (path,) = results.glob("records/lsq-*/*.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "record_schema": 99}))
    again = run(*words)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("has schema 99") == 1
    assert "(run " in again.stdout  # what cannot be read is no result: the cell has run again
    path.write_text(path.read_text()[:100])
    third = run(*words)
    assert third.returncode == 0, third.stderr
    assert third.stderr.count("is not whole JSON") == 1
    assert "(stored run " in third.stdout


def test_damaged_shipped_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from suite.errors import EnvironmentProblem
    from suite.tasks import fashion
    from suite.tasks.base import DataOptions

    shutil.copytree(fashion.SHIPPED, tmp_path / "data")
    monkeypatch.setattr(fashion, "SHIPPED", tmp_path / "data")
    path = tmp_path / "data" / "train-labels-idx1-ubyte.xz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(EnvironmentProblem, match="cannot be unpacked"):
        fashion.FASHION.open(DataOptions(image_size=28, classes=10))
    import lzma

    path.write_bytes(lzma.compress(b"\0" * 16_008))
    with pytest.raises(EnvironmentProblem, match="SHA-256 differs"):
        fashion.FASHION.open(DataOptions(image_size=28, classes=10))


def test_results_folder_that_is_a_file(tmp_path: Path, run: Command) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = run(*FASHION, "--method=fp32", f"--results={blocked / 'results'}")
    assert "choose another folder with --results" in complaint(done, 3)
