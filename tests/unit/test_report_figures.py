"""The report's figures: valid pictures with escaped words, right numbers and stable bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from suite.collect import collect, newest
from suite.measuring.records import Measurement
from suite.report.figures import figures
from suite.report.figures.axes import Scale, from_zero, spanning, spanning_log
from suite.report.figures.bits import bits, over_bits
from suite.report.figures.configurations import configurations
from suite.report.figures.costs import measured
from suite.report.figures.heat import Heat, pooled
from suite.report.figures.intervals import intervals
from suite.report.figures.model import Figure
from suite.report.figures.series import styles
from suite.report.figures.trajectories import trajectories
from suite.report.svg import el, short
from tests.report_records import DAMAGE, SCRIPT, fill

HEAVY = ("history", "diagnosis")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    root = tmp_path_factory.mktemp("results")
    fill(root)
    return {figure.id: figure for figure in _figures(root)}


def _figures(root: Path) -> list[Figure]:
    return figures(newest(collect([root], heavy=HEAVY).runs))


def test_every_picture_is_valid_xml_with_a_title_and_a_description(
    drawn: dict[str, Figure],
) -> None:
    pictures = [panel.svg for figure in drawn.values() for panel in figure.panels]
    assert len(pictures) > 10
    for picture in pictures:
        root = ElementTree.fromstring(str(picture))
        ids = {element.get("id"): element for element in root.iter() if element.get("id")}
        assert ids[root.get("aria-labelledby")].text
        assert ids[root.get("aria-describedby")].text


def test_ids_are_unique_over_all_pictures(drawn: dict[str, Figure]) -> None:
    found = [
        element.get("id")
        for figure in drawn.values()
        for panel in figure.panels
        for element in ElementTree.fromstring(str(panel.svg)).iter()
        if element.get("id")
    ]
    assert len(found) == len(set(found))


def test_a_method_named_like_a_script_is_words_in_every_picture(drawn: dict[str, Figure]) -> None:
    text = "".join(str(panel.svg) for figure in drawn.values() for panel in figure.panels)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_same_records_give_the_same_figures(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    first = [panel.svg for figure in _figures(tmp_path / "one") for panel in figure.panels]
    second = [panel.svg for figure in _figures(tmp_path / "one") for panel in figure.panels]
    assert first == second


def test_no_records_leave_the_published_pictures_and_say_what_is_absent(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    found = {figure.id: figure for figure in _figures(tmp_path)}
    assert found["bits"].panels
    assert found["curves"].panels
    for name in ("intervals", "costs", "recorded", "outliers"):
        assert not found[name].panels
        assert found[name].absent.endswith(".")


def test_the_numbers_of_accuracy_over_bits_are_means_with_intervals(
    drawn: dict[str, Figure],
) -> None:
    rows = {row[0].text: row for row in drawn["bits"].rows}
    row = rows["lsq/deit_pico/fashion/w2a2"]
    assert row[3].text == "80.10"
    assert len(row[3].run_ids) == 3
    # Seeds 80.0, 80.1, 80.2: half width 4.303 * 0.1 / sqrt(3).
    assert row[4].text == "79.85 to 80.35"


def test_published_points_keep_their_printed_digits(drawn: dict[str, Figure]) -> None:
    names = {row[0].text: row[3].text for row in drawn["bits"].rows}
    found = [v for n, v in names.items() if "DeiT-T" in n and "README Models table" in n]
    assert "73.75" in found


def test_the_place_that_repairs_most_is_marked_in_the_damage_picture(
    drawn: dict[str, Figure],
) -> None:
    figure = drawn["outliers"]
    changes = {row[1].text: row[5].value for row in figure.rows}
    assert changes["h"] == pytest.approx(DAMAGE["h"] / DAMAGE[""] - 1)
    last = ElementTree.fromstring(str(figure.panels[-1].svg))
    marked = [e for e in last.iter("rect") if "s2" in (e.get("class") or "")]
    assert len(marked) == 2  # h and y are below 0.8 of the whole error, x is not


def test_oscillation_is_drawn_where_a_history_holds_it(tmp_path: Path) -> None:
    store = fill(tmp_path)
    path = next(p for p in sorted((tmp_path / "records").glob("lsq-*w2a2*/*.json")))
    text = path.read_text().replace('"train_loss":1.0', '"oscillation":0.04,"train_loss":1.0')
    text = text.replace('"train_loss": 1.0', '"oscillation": 0.04, "train_loss": 1.0')
    path.write_text(text)
    found = {figure.id: figure for figure in _figures(store.root)}["recorded"]
    assert [panel.title for panel in found.panels] == ["oscillation, deit_pico on fashion"]


def test_the_share_of_oscillating_weights_is_drawn_where_runs_counted_it(tmp_path: Path) -> None:
    fill(tmp_path)
    for path in sorted((tmp_path / "records").glob("lsq-*w[23]a[23]*/*.json")):
        record = json.loads(path.read_text())
        record["diagnosis"] = {"oscillation": {"share": 0.04 + 0.001 * record["cell"]["w_bits"]}}
        path.write_text(json.dumps(record))
    found = {figure.id: figure for figure in _figures(tmp_path)}["recorded"]
    assert [panel.title for panel in found.panels] == [
        "share of oscillating weights, deit_pico on fashion"
    ]
    assert {row[4].text for row in found.rows} == {"0.0420", "0.0430"}


def test_a_measurement_is_drawn_apart_from_runs() -> None:
    costs = measured([measurement("fp32", 2.0), measurement("lsq W2A2", 3.0)])
    assert [[cost.label for cost in group] for group in costs] == [["fp32", "lsq W2A2"]]
    assert costs[0][1].memory == 300.0
    assert "batch 8" in costs[0][0].group


def measurement(name: str, seconds: float) -> Measurement:
    times = {"median": seconds, "min": seconds - 0.1, "max": seconds + 0.1}
    return Measurement(
        measurement_id=f"m-{name[:3]}",
        session="s1",
        name=name,
        cell={"method": name.split()[0], "model": "deit_tiny", "task": "imagenet"},
        phase="last",
        conditions={"batch": 8, "size": 224},
        made_of={},
        started="2026-01-01T00:00:00.000+00:00",
        finished="2026-01-01T00:00:01.000+00:00",
        time={f"epoch_seconds_{key}": value for key, value in times.items()},
        memory={"cpu_rss": 100.0 * seconds},
        provenance={"device": "cpu"},
    )


@pytest.mark.parametrize(
    "content",
    [
        {"diagnosis": {"places": {"x0": {}, "h": 3}, "damage": {"": "much"}}},
        {"diagnosis": {"places": [], "damage": 1, "oscillation": {"share": "half"}}},
        {"history": [{"epoch": "one", "top1": None}, {"top1": 1.0}, {"scale": {"a": []}}]},
        {"metrics": {"top1": float("nan"), "top1_best": float("inf")}},
        {"time": {"epoch_seconds_median": float("inf")}, "memory": {}},
    ],
)
def test_a_record_with_odd_content_spoils_no_figure(tmp_path: Path, content: dict) -> None:
    fill(tmp_path)
    for path in sorted((tmp_path / "records").glob("*/*.json")):
        path.write_text(json.dumps({**json.loads(path.read_text()), **content}))
    for figure in _figures(tmp_path):
        for panel in figure.panels:
            assert "nan" not in str(panel.svg).partition("</desc>")[2]
            ElementTree.fromstring(str(panel.svg))


def test_a_gap_in_a_published_log_is_a_gap_in_its_line() -> None:
    (broken,) = [t for t in trajectories() if t.name == "SReT-T-W4A4"]
    assert len(broken.parts) == 2
    whole = {t.name: t for t in trajectories()}["DeiT-T-W2A2"]
    assert len(whole.parts) == 1
    assert whole.points[0] == (4 / 150, 37.934)
    assert whole.points[-1] == (1.0, 59.726)


def test_markup_is_kept_and_words_are_escaped() -> None:
    inner = el("b", "<&>\x00")
    assert str(el("a", inner, "<", class_="x", stroke_width=1.0)) == (
        '<a class="x" stroke-width="1"><b>&lt;&amp;&gt;</b>&lt;</a>'
    )
    assert SCRIPT not in str(el("text", SCRIPT, title=SCRIPT))


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (-0.001, "0"), (2.504, "2.5"), (100.0, "100"), (0.126, "0.13")]
)
def test_coordinates_are_short(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    "scale",
    [
        spanning([79.7, 84.6], 200, 20),
        spanning([5.0, 5.0], 0, 100),
        spanning([-0.0002, 0.0003], 0, 100),
        from_zero([0.0], 0, 100),
        from_zero([1234.5], 0, 100),
        spanning_log([2.5, 180.0], 0, 100),
        spanning_log([3.0, 3.1], 0, 100),
    ],
)
def test_ticks_are_inside_and_told_apart(scale: Scale) -> None:
    ticks = scale.ticks()
    form = scale.form()
    assert ticks
    assert all(scale.low - 1e-9 <= tick <= scale.high * (1 + 1e-9) for tick in ticks)
    assert len({form(tick) for tick in ticks}) == len(ticks)


def test_pooling_keeps_the_largest_of_neighbours() -> None:
    grid = np.ones((2, 384))
    grid[1, 137] = 50.0
    small = pooled(grid, 155)
    assert small.shape == (2, 155)
    assert small.max() == 50.0
    assert (small[1] == 50.0).sum() == 1


def test_heat_classes_are_logarithmic_and_bounded() -> None:
    classes = Heat(1.0, 100.0).classes(np.array([[0.01, 1.0, 10.0, 100.0, 1e6]]))
    assert classes.tolist() == [[1, 1, 4, 7, 7]]


def run(number: int, method: str, bits: int, recipe: str) -> dict[str, object]:
    """A run on Fashion-MNIST with 80 + `number` % top-1."""
    words = "fp32" if bits == 32 else f"w{bits}a{bits}"
    return {
        "configuration": f"{method}/deit_pico/fashion/{words}",
        "recipe": recipe,
        "run_id": f"20260101T000000-0000000{number}",
        "method": method,
        "model": "deit_pico",
        "task": "fashion",
        "w_bits": bits,
        "a_bits": bits,
        "seed": 0,
        "m.top1": 80.0 + number,
        "m.top1_best": 80.0 + number,
    }


def test_a_line_over_bits_has_one_recipe() -> None:
    """A second recipe at one bit-width must not take that width out of the first one's line."""
    cells = [(2, "{}"), (3, "{}"), (4, "{}"), (2, "short")]
    rows = [run(number, "lsq", *cell) for number, cell in enumerate(cells)]
    lines = over_bits(configurations(pd.DataFrame(rows)))
    ((name, members),) = lines.items()
    assert name.startswith("lsq (recipe ")
    assert [(one.w_bits, one.mean) for one in members] == [(2, 80.0), (3, 81.0), (4, 82.0)]


def test_runs_with_settings_of_their_own_are_left_to_the_figure_beside() -> None:
    methods = ("lsq", "lsq[edge_bits=2]")
    rows = [run(n + bits, m, bits, "{}") for n, m in enumerate(methods) for bits in (2, 3)]
    found = configurations(pd.DataFrame(rows))
    assert [*over_bits(found)] == ["lsq"]
    picture = str(intervals(found, styles((o.method, o.series) for o in found)).panels[0].svg)
    assert "lsq[edge_bits=2] w2a2" in picture


def test_a_label_that_is_cut_keeps_its_bits() -> None:
    name = "variation-released[module_dependent=False,quantizer=uniform]"
    found = configurations(pd.DataFrame([run(bits, name, bits, "{}") for bits in (2, 3)]))
    picture = str(intervals(found, styles((o.method, o.series) for o in found)).panels[0].svg)
    assert re.findall(r"… (w\da\d)</text>", picture) == ["w3a3", "w2a2"]


def test_series_are_told_apart_where_methods_outnumber_the_colours() -> None:
    series = [(f"m{n:02}", f"m{n:02}-{variant}") for n in range(12) for variant in ("a", "b", "c")]
    found = styles(series)
    assert len({*found.values()}) == len(series)
    assert len({found[name].kind for _, name in series if name.startswith("m00")}) == 1


def test_every_line_over_bits_has_its_own_look() -> None:
    """However many other configurations there are, which are not drawn."""
    names = ("lsq", "lsq_plus", "qvit-released", "variation-released", "variation-paper")
    rows = [run(n + b, name, b, "{}") for n, name in enumerate(names) for b in (2, 3)]
    rows += [run(99, f"variation[x={n}]", 2, "{}") for n in range(40)]
    rows += [run(99, "variation-released", 2, f"{n}") for n in range(9)]
    keys = [str(key.symbol) for key in bits(configurations(pd.DataFrame(rows)), {}).legend]
    assert len(keys) == len(set(keys)) == len(names)


def test_every_recipe_of_the_fp32_model_has_its_line() -> None:
    cells = [("lsq", 2, "{}"), ("lsq", 3, "{}"), ("fp32", 32, "{}"), ("fp32", 32, "short")]
    found = configurations(pd.DataFrame([run(number, *cell) for number, cell in enumerate(cells)]))
    picture = str(bits(found, {}).panels[0].svg)
    assert picture.count('class="reference"') == 2
    assert picture.count("FP32 ") == 1
    assert "FP32 82.00, 83.00<" in picture


def test_points_of_many_series_stay_with_their_bit_width() -> None:
    cells = [(f"m{n}", bits, "{}") for n in range(12) for bits in (2, 3, 4)]
    found = configurations(pd.DataFrame([run(number, *cell) for number, cell in enumerate(cells)]))
    picture = str(bits(found, {}).panels[0].svg)
    lines = re.findall(
        r'<path d="M([0-9.]+)[ ,][0-9.]+ ?L([0-9.]+)[ ,][0-9.]+ ?L([0-9.]+)', picture
    )
    assert len(lines) == 12
    places = [sorted(float(line[width]) for line in lines) for width in range(3)]
    step = places[1][0] - places[0][0]
    assert all(own[-1] - own[0] < 0.6 * step for own in places)
