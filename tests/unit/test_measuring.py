"""Memory and time of training steps: conditions, records, table, pytest-benchmark's JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite.errors import LowbitError, UsageError
from suite.measuring import benchmark, memory
from suite.measuring.authors import known
from suite.measuring.cases import IMAGENET, Conditions, cases_of, cells_of, images_of
from suite.measuring.command import _pairs
from suite.measuring.records import Measurement, measurements, write
from suite.measuring.session import measure, times
from suite.measuring.table import duration, table

CONDITIONS = Conditions(batch=2, images=101, steps=1, rounds=3, threads=1)


@pytest.fixture(scope="module")
def found() -> list[Measurement]:
    cells = cells_of("deit_pico", ("variation",), [(2, 2)])
    return measure(cases_of(cells, CONDITIONS), CONDITIONS, say=lambda text: None)


def made(name: str = "variation", **fields: object) -> Measurement:
    """A measurement of DeiT-T at 4 bits as if it had been made."""
    own = {
        "measurement_id": "20261124T220736-88a2846a",
        "session": "20261124T220700-00000000",
        "name": f"{name} W4A4",
        "cell": {"method": name, "model": "deit_tiny", "w_bits": 4, "a_bits": 4},
        "phase": "last",
        "conditions": {
            **{"batch": 8, "size": 224, "images": IMAGENET, "steps": 3, "rounds": 2},
            **{"threads": 2, "compiled": False, "precision": "fp32", "warm_up_rounds": 1},
        },
        "made_of": {},
        "started": "",
        "finished": "",
        "seconds": [1.0, 2.0],
        "time": times([1.0, 2.0], [0.5, 1.0], 8, IMAGENET),
        "memory": {"cpu_rss": 1000.0, "cpu_rss_before": 300.0, "cpu_net": 700.0},
        "provenance": {"device": "cpu", "cpu": "AMD EPYC", "cores": 2, "host": "here"},
    }
    return Measurement(**{**own, **fields})


def test_every_case_has_its_own_memory_and_its_turns(found: list[Measurement]) -> None:
    assert [(one.name, one.phase) for one in found] == [
        ("fp32", "last"),
        ("variation-released W2A2", "first"),
        ("variation-released W2A2", "last"),
    ]
    assert len({one.session for one in found}) == 1
    assert len({one.measurement_id for one in found}) == 3
    for one in found:
        assert one.lacking == ""
        assert len(one.seconds) == 3
        assert one.memory["cpu_rss"] > one.memory["cpu_rss_before"] > 50
        net = one.memory["cpu_rss"] - one.memory["cpu_rss_before"]
        assert one.memory["cpu_net"] == pytest.approx(net, abs=0.11)
        assert one.made_of["inputs"] == "random tensors"
        assert one.conditions["threads"] == 1
        assert one.provenance["device"] == "cpu"


def test_an_epoch_is_as_many_steps_as_its_images_need(found: list[Measurement]) -> None:
    for one in found:
        assert one.time["steps_per_epoch"] == 51
        for spread in ("median", "min", "max"):
            step = one.time[f"step_seconds_{spread}"]
            assert one.time[f"epoch_seconds_{spread}"] == pytest.approx(51 * step, rel=1e-3)


def test_ratios_are_to_fp32(found: list[Measurement]) -> None:
    fp32, *others = found
    assert fp32.time["ratio"] == fp32.memory["ratio.cpu_rss"] == 1
    for one in others:
        assert one.time["ratio_min"] <= one.time["ratio"] <= one.time["ratio_max"]
        expected = one.memory["cpu_rss"] / fp32.memory["cpu_rss"]
        assert one.memory["ratio.cpu_rss"] == pytest.approx(expected, abs=1e-3)


def test_the_ratio_is_taken_within_a_round() -> None:
    """A round in which everything is ten times slower changes no ratio."""
    found = times([2.0, 20.0, 2.2], [1.0, 10.0, 1.0], batch=4, images=9)
    assert (found["ratio_min"], found["ratio"], found["ratio_max"]) == (2.0, 2.0, 2.2)
    assert found["steps_per_epoch"] == 3
    assert found["epoch_seconds_median"] == pytest.approx(6.6)
    assert found["images_per_second"] == pytest.approx(4 / 2.2, rel=1e-5)


def test_measurements_come_back_once_and_bad_files_are_named(
    found: list[Measurement], awkward: Path, tmp_path: Path
) -> None:
    for one in found:
        write(one, awkward)
        write(one, tmp_path / "copy")
    with pytest.raises(FileExistsError, match="never edited"):
        write(found[0], awkward)
    at = awkward / "measurements"
    (at / "a.json").write_text("{")
    (at / "b.json").write_text('{"measurement_schema": 2}')
    (at / "c.json").write_text('{"top1": 3}')
    (at / "d.json").write_text(found[0].model_copy(update={"name": "other"}).model_dump_json())
    back, left_out = measurements([awkward, tmp_path / "copy", tmp_path / "none"])
    by_id = sorted(found, key=lambda one: one.measurement_id)
    assert [one.measurement_id for one in back] == [one.measurement_id for one in by_id]
    assert [path.name for path, _ in left_out][:3] == ["a.json", "b.json", "c.json"]
    reasons = " ".join(why for _, why in left_out)
    for words in ("not whole JSON", "schema 2", "is not a measurement", "other content"):
        assert words in reasons


def test_the_table_has_the_authors_ratios_beside_ours() -> None:
    first = made(phase="first")
    last = made(measurement_id="20261124T220736-00000000")
    text = table([made("lsq"), first, last])
    lines = text.splitlines()
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert "2.82 [1]" in lines[3]
    assert "4.23" in lines[4]
    assert "(3.6) [" in lines[4]  # of Swin-T
    assert "25.9 over 7.2 GB" in text
    assert "1,281,167 images" in text
    assert "random inputs" in text
    assert "[" not in lines[2]


def test_known_ratios_are_read_from_the_published_rows() -> None:
    ratios = {(k.method, k.phase, k.time): k.memory for k in known()}
    assert ratios["variation", "last", None] == pytest.approx(25.9 / 7.2)
    assert ratios["ofq", "last", None] == pytest.approx(37.5 / 7.2)


def test_a_case_without_memory_says_so_in_the_table() -> None:
    lacking = made(lacking="out of memory (the process was killed)", memory={}, time={}, seconds=[])
    lines = table([made("lsq"), lacking]).splitlines()
    assert "out of memory" in lines[3]
    assert lines[3].count("|") == lines[0].count("|")


def test_a_killed_process_is_out_of_memory_and_any_other_end_an_error(monkeypatch) -> None:
    [case] = cases_of(cells_of("deit_pico", ("fp32",), ()), CONDITIONS)
    ends = SimpleNamespace(returncode=-9, stdout="", stderr="")
    monkeypatch.setattr(memory.subprocess, "run", lambda *a, **k: ends)
    assert memory.peak_of(case, "last").lacking.startswith("out of memory")
    ends.returncode, ends.stderr = 1, "Traceback\nRuntimeError: too small\n"
    with pytest.raises(LowbitError, match="fp32 cannot be measured: RuntimeError: too small"):
        memory.peak_of(case, "last")


def test_pytest_benchmark_compares_the_file(found: list[Measurement], tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    benchmark.write(found, path)
    content = json.loads(path.read_text())
    assert {"machine_info", "commit_info", "benchmarks", "version", "datetime"} <= set(content)
    stats = content["benchmarks"][0]["stats"]
    assert stats["data"] == found[0].seconds
    assert stats["rounds"] == 3
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "variation-released W2A2 (last epoch)" in done.stdout


def test_fp32_is_always_first_and_trained_like_the_others() -> None:
    cells = cells_of("deit_tiny", ("lsq", "fp32", "variation"), [(2, 2), (4, 4)])
    assert [(c.method, c.bits) for c in cells] == [
        ("fp32", "fp32"),
        ("lsq", "w2a2"),
        ("lsq", "w4a4"),
        ("variation", "w2a2"),
        ("variation", "w4a4"),
    ]
    assert cells[0].recipe == cells[1].recipe
    assert {c.task for c in cells} == {"imagenet"}


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: cells_of("deit_tiny", ("lsq",), ()), "--bits"),
        (lambda: cells_of("deit_tiny", ("lsk",), [(2, 2)]), "Did you mean 'lsq'"),
        (lambda: cells_of("deit_tinny", ("lsq",), [(2, 2)]), "deit_tiny"),
        (lambda: cells_of("bert_base", ("minmax_ptq",), [(8, 8)]), "is not trained"),
        (lambda: images_of("bert_base", 0), "--images"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(ask, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ask()


def test_an_epoch_is_imagenets_unless_it_is_given() -> None:
    assert images_of("deit_tiny", 0) == 1_281_167
    assert images_of("bert_base", 67_349) == 67_349


@pytest.mark.parametrize(
    ("seconds", "text"), [(38.21, "38.2 s"), (744, "12.4 min"), (26_280, "7.3 h")]
)
def test_durations_are_written_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("given", "pairs"),
    [
        ({"bits": ["2,4"]}, [(2, 2), (4, 4)]),
        ({"w-bits": ["2"], "a-bits": ["4", "8"]}, [(2, 4), (2, 8)]),
        ({"w-bits": ["2"]}, [(2, 2)]),
    ],
)
def test_bits_are_pairs(given: dict, pairs: list[tuple[int, int]]) -> None:
    assert _pairs({"bits": None, "w-bits": None, "a-bits": None, **given}) == pairs


def test_bits_of_both_kinds_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="leave out --w-bits"):
        _pairs({"bits": ["2"], "w-bits": ["2"], "a-bits": None})
