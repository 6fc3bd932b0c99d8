"""What may be compared with a published number, and what decides nothing, by what records hold."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from suite.aggregate import paired
from suite.cell import Cell
from suite.claims import claims
from suite.cli import app
from suite.collect import collect
from suite.comparable import beside, departures, overrides, why_not
from suite.names import canonical
from suite.originals import originals
from suite.published import Published, candidates
from suite.reservations import SHIPPED, reservations
from suite.results import Record, Store, read
from suite.run_facts import facts_of
from suite.store.rows import Unusable, row_of
from suite.summary import summary
from tests.table_records import AUDIT, DEIT_TINY, IMAGENET, PROVENANCE, cell, record, whole

Change = Callable[[Record], Record]

KEPT = Path(__file__).parents[2] / "docs" / "measured"


def quantized(**choice: Any) -> Cell:
    return cell("variation", 2, task="imagenet", **choice)


def fp32() -> Cell:
    return cell("fp32", 32, task="imagenet")


def with_metrics(made: Record, **metrics: float) -> Record:
    return made.model_copy(update={"metrics": {**made.metrics, **metrics}})


def with_evaluation(made: Record, **changes: Any) -> Record:
    evaluation = {**made.protocol["evaluation"], **changes}
    return made.model_copy(update={"protocol": {**made.protocol, "evaluation": evaluation}})


def with_provenance(made: Record, **changes: Any) -> Record:
    return made.model_copy(update={"provenance": {**made.provenance, **changes}})


def stored(store: Store, made: Record) -> None:
    """As it would lie there; the store itself writes no NaN."""
    path = store.beside(made.cell_id, made.run_id, "json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.model_dump_json())


def table_of(tmp_path: Path, *records: Record, only: str = "p1-imagenet") -> list[dict[str, str]]:
    """Lines of a table of these records, as `lowbit tables` writes them."""
    store = Store(tmp_path / "results")
    for made in records:
        stored(store, made)
    words = ["tables", "--out", str(tmp_path / "out"), "--results", str(store.root), "--only", only]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / f"{only}.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def entry(lines: list[dict[str, str]], row: str, block: str, column: str) -> dict[str, str]:
    (found,) = (
        e for e in lines if (e["row"], e["block"]) == (row, block) and e["column"].endswith(column)
    )
    return found


# The examples: each of them was printed beside the paper's number


def tree_of_twelve() -> Record:
    """A head that is right on every one of twelve images."""
    made = whole(fp32(), metrics={"top1": 100.0, "top1_best": 100.0, "samples": 12.0})
    return with_evaluation(made, classes=12, class_set="12 by number", samples=12)


def random_weights() -> Record:
    """All of ImageNet, the right model, and weights that nobody trained."""
    made = whole(fp32(), metrics={"top1": 0.0, "top1_best": 0.0, "samples": 50000.0})
    return with_provenance(made, start={"start": "pretrained", "source": "random.pt"})


def eighty_rows() -> Record:
    one = cell("minmax_ptq", 8, 1000, task="glue-rte")
    evaluation = {"max_length": 128, "rows": {"train": 80, "validation": 80}}
    metrics = {"accuracy": 65.0, "accuracy_best": 65.0, "samples": 80.0}
    return record(one, metrics=metrics, protocol={"evaluation": evaluation})


def two_layers() -> Record:
    made = whole(quantized(), metrics={"top1": 59.7, "top1_best": 59.7, "samples": 50000.0})
    return with_provenance(made, architecture={**DEIT_TINY, "depth": 2, "parameters": 1268776})


def waived_gate() -> Record:
    made = whole(quantized(), metrics={"top1": 59.7, "top1_best": 59.7, "samples": 50000.0})
    return made.model_copy(update={"execution": {"gate": False}})


EXAMPLES: list[tuple[Callable[[], Record], str]] = [
    (tree_of_twelve, "samples: 50,000 there, 12 here"),
    (tree_of_twelve, "classes: 1,000 there, 12 here"),
    (random_weights, "start.source: the authors' own checkpoint, of no known digest published, ra"),
    (eighty_rows, "samples: 277 there, 80 here"),
    (two_layers, "depth: 12 there, 2 here"),
    (waived_gate, "the FP32 gate of 70 % was waived (--no-gate)"),
]


@pytest.mark.parametrize(("example", "words"), EXAMPLES)
def test_a_summary_sets_them_in_brackets_and_says_why(
    tmp_path: Path, example: Callable[[], Record], words: str
) -> None:
    made = example()
    text = summary([(made, False)], Store(tmp_path))
    assert "not comparable with the published" in text
    assert words in text
    row = next(line for line in text.splitlines() if line.startswith(f"| {cell_label(made)}"))
    assert re.search(r"\| \([\d.]+ [\w-]+\) \|", row)


def cell_label(made: Record) -> str:
    return Cell.model_validate(made.cell).label


@pytest.mark.parametrize(
    ("example", "only", "where"),
    [
        (tree_of_twelve, "p1-imagenet", ("FP32", "FP32", "DeiT-T")),
        (random_weights, "p1-imagenet", ("FP32", "FP32", "DeiT-T")),
        (two_layers, "p1-imagenet", ("variation-aware", "W2A2", "DeiT-T")),
        (waived_gate, "p1-imagenet", ("variation-aware", "W2A2", "DeiT-T")),
        (eighty_rows, "p2-table1", ("W8A8", "", "RTE")),
    ],
)
def test_a_table_gives_them_neither_difference_nor_verdict(
    tmp_path: Path, example: Callable[[], Record], only: str, where: tuple[str, str, str]
) -> None:
    words = next(words for one, words in EXAMPLES if one is example)
    found = entry(table_of(tmp_path, example(), only=only), *where)
    assert found["published"]
    assert (found["verdict"], found["difference"]) == ("not comparable", "")
    assert words in found["notes"]
    markdown = (tmp_path / "out" / f"{only}.md").read_text()
    assert "1 not comparable" in markdown
    assert "↑" not in markdown
    assert "↓" not in markdown


def test_the_whole_thing_is_compared_and_says_what_cannot_be_checked(tmp_path: Path) -> None:
    made = whole(quantized(), metrics={"top1": 59.7, "top1_best": 60.0, "samples": 50000.0})
    assert beside(made).why == ()
    text = summary([(made, False)], Store(tmp_path))
    assert "published: 59.73 % (DeiT-T" in text
    assert "no digest of the paper's data is published" in text
    assert "decides nothing" not in text
    assert "| 59.70 | 60.00 |" in text
    found = entry(table_of(tmp_path, made), "variation-aware", "W2A2", "DeiT-T")
    assert (found["verdict"], found["difference"]) == ("reproduced", "-0.03")
    assert "Compared, but no digest" in found["notes"]


@pytest.mark.parametrize(
    ("method", "bits", "printed"), [("fp32", 32, "70.40"), ("minmax_ptq", 8, "64.98")]
)
def test_all_of_a_glue_task_on_bert_base_is_compared(
    tmp_path: Path, method: str, bits: int, printed: str
) -> None:
    one = cell(method, bits, 1000, task="glue-rte")
    known = originals().model["bert_base"].model_dump(by_alias=True, exclude={"source"})
    made = record(
        one,
        metrics={"accuracy": 66.0, "accuracy_best": 66.0, "samples": 277.0},
        protocol={"evaluation": {"max_length": 128, "rows": {"train": 2490, "validation": 277}}},
        provenance={**PROVENANCE, "architecture": {**known, "parameters": 109484547}},
        history=[{"crops": 1, "images": 2490}] * one.recipe.epochs,
    )
    found = beside(made)
    assert found.value is not None
    assert (found.value.printed, found.why) == (printed, ())
    row = {"fp32": "FP32", "minmax_ptq": "W8A8"}[method]
    shown = entry(table_of(tmp_path, made, only="p2-table1"), row, "", "RTE")
    assert shown["verdict"] in ("reproduced", "above", "below")


# Fields, one by one


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda r: with_evaluation(r, class_set=None),
            "class set: imagenet-1k there, not recorded",
        ),
        (
            lambda r: with_evaluation(r, class_set="1000 in order of names"),
            "1000 in order of names",
        ),
        (lambda r: with_metrics(r, samples=49999.0), "49,999 here"),
        (lambda r: with_evaluation(r, interpolation="bicubic"), "bilinear published, bicubic here"),
        (lambda r: with_evaluation(r, resize=None), "resize: 256 published, not recorded here"),
        (lambda r: r.model_copy(update={"protocol": {}}), "its evaluation is not recorded"),
        (lambda r: with_provenance(r, data=None), "its data has no digest"),
        (lambda r: with_provenance(r, architecture=None), "its architecture is not recorded"),
        (
            lambda r: with_provenance(r, architecture={**DEIT_TINY, "class": "DistilledDeiT"}),
            "class: DeiT there, DistilledDeiT here",
        ),
        (
            lambda r: with_provenance(r, architecture={**DEIT_TINY, "parameters": 5800000}),
            "parameters: 5,717,416 there, 5,800,000 here",
        ),
        (lambda r: r.model_copy(update={"history": []}), "its passes are not recorded"),
        (
            lambda r: r.model_copy(update={"history": [{"crops": 150, "images": 150 * 130000}]}),
            "trained on 130,000 of 1,281,167 samples a pass",
        ),
    ],
)
def test_a_field_that_differs_or_that_one_side_lacks_is_a_difference(
    change: Change, words: str
) -> None:
    made = whole(quantized())
    (value,) = (v for v in candidates(quantized()) if v.printed == "59.73")
    assert why_not(value, made) == []
    assert any(words in phrase for phrase in why_not(value, change(made))), why_not(
        value, change(made)
    )


def test_what_is_not_known_of_the_published_number_is_a_difference() -> None:
    """LSQ on transformers is quoted by another paper: neither epochs nor crops are known."""
    made = whole(quantized())
    (value,) = (v for v in candidates(quantized()) if v.printed == "59.73")
    unknown = value.model_copy(update={"protocol": {}})
    found = why_not(unknown, made)
    assert "recipe.epochs: not known of the published number, 150 here" in found
    assert any(one.startswith("protocol.evaluation.interpolation: not known") for one in found)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"recipe": {"max_steps": 8}}, "recipe.max_steps: 0 in the grid, 8 here"),
        ({"recipe": {"max_steps": 8}}, "passes cut after 8 steps"),
        ({"recipe": {"epochs": 4}}, "recipe.epochs: 150 published, 4 here"),
        ({"recipe": {"lr": 0.5}}, "recipe.lr: 0.0005 in the grid, 0.5 here"),
        ({"settings": {"regularise": False}}, "settings: none in the grid, regularise=False here"),
        ({"variants": ("corrected",)}, "variant: released in the grid, corrected here"),
    ],
)
def test_another_recipe_setting_or_variant_is_a_difference(
    choice: dict[str, Any], words: str
) -> None:
    found = beside(whole(quantized(**choice)))
    assert found.value is not None
    assert any(words in phrase for phrase in found.why), found.why


def test_the_grids_own_cells_override_nothing() -> None:
    assert overrides(quantized()) == []
    assert overrides(fp32()) == []
    assert overrides(cell("qvit", 2)) == []


def test_weights_from_the_published_place_are_compared_with_their_own_number() -> None:
    """DeiT's own FP32 numbers are of bicubic images: comparable once these are evaluated so."""
    made = whole(fp32(), metrics={"top1": 72.14, "top1_best": 72.14, "samples": 50000.0})
    made = with_provenance(
        made, start={"start": "pretrained", "source": "timm/deit_tiny_patch16_224.fb_in1k"}
    )
    assert beside(made).why
    found = beside(with_evaluation(made, interpolation="bicubic"))
    assert found.value is not None
    assert (found.value.printed, found.why) == ("72.2", ())


def test_a_model_of_another_name_is_not_known() -> None:
    one = cell("minmax_ptq", 8, 1000, task="glue-rte").model_copy(update={"model": "a/folder"})
    assert "the architecture that a/folder stands for is not known" in departures(record(one))


# Reservations


REASONS: list[tuple[Change, str]] = [
    (lambda r: r.model_copy(update={"execution": {"gate": False}}), "the FP32 gate of 80 % was"),
    (lambda r: with_metrics(r, samples=100.0), "100 of 10,000 samples evaluated"),
    (lambda r: r.model_copy(update={"metrics": {"top1": 80.0}}), "does not say how many of 10,000"),
    (lambda r: r.model_copy(update={"audit": {}}), "no coverage audit"),
    (lambda r: r.model_copy(update={"audit": {**AUDIT, "problems": ["a"]}}), "found 1 problem"),
    (lambda r: with_provenance(r, git={"revision": "a", "dirty": True}), "uncommitted changes"),
    (lambda r: with_provenance(r, git={"revision": None, "dirty": None}), "made by unknown code"),
    (lambda r: with_provenance(r, git=None), "made by unknown code"),
    (
        lambda r: with_provenance(r, outside={"method": "theirs 1.0"}),
        "method from outside the suite (theirs",
    ),
    (lambda r: with_metrics(r, top1=250.0), "top1 250 lies outside 0 to 100"),
    (lambda r: with_metrics(r, top1_best=-3.0), "top1_best -3 lies outside 0 to 100"),
    (lambda r: with_metrics(r, loss=-1.0), "loss -1 lies outside 0 to inf"),
    (lambda r: with_metrics(r, top1=float("nan")), "top1 is not finite"),
    (
        lambda r: r.model_copy(update={"history": [{"crops": 4, "images": 4}]}),
        "trained for 4 of",
    ),
]


@pytest.mark.parametrize(("change", "words"), REASONS)
def test_what_is_wrong_with_a_run_is_said_by_record_and_by_row_alike(
    tmp_path: Path, change: Change, words: str
) -> None:
    made = record(cell("variation", 2))
    assert reservations(made) == []
    odd = change(made)
    found = reservations(odd)
    assert len(found) == 1
    assert words in found[0]
    stored(Store(tmp_path), odd)
    (row,) = collect([tmp_path]).runs.to_dict("records")
    assert reservations(row) == found


def test_a_full_precision_run_needs_no_audit() -> None:
    assert reservations(record(cell("fp32", 32), audit={})) == []


def test_what_is_wrong_with_a_needed_run_is_said_of_the_one_that_rests_on_it() -> None:
    start = with_metrics(record(cell("fp32", 32), 1), top1=250.0)
    made = record(cell("variation", 2), 2, needs={"fp32": start.run_id})
    found = reservations(made, {start.run_id: start}.get)
    assert found == ["its fp32 run: top1 250 lies outside 0 to 100"]
    assert reservations(made) == []


def test_records_that_rest_on_each_other_are_looked_at_once(tmp_path: Path) -> None:
    first, second = record(cell("variation", 2), 1), record(cell("lsq", 2), 2)
    first = first.model_copy(update={"needs": {"teacher": second.run_id, "fp32": first.run_id}})
    second = waived(second).model_copy(update={"needs": {"teacher": first.run_id}})
    known = {one.run_id: one for one in (first, second)}
    (found,) = reservations(first, known.get)
    assert found == "its teacher run: the FP32 gate of 80 % was waived (--no-gate)"
    lines = table_of(tmp_path, first, second, only="fashion")
    assert found in entry(lines, "variation-aware, released", "W2A2", "top-1")["notes"]


ODD = (None, True, "x", -1, 1e999, [], {}, [1], {"a": []}, 10**30, {"rows": {"train": "x"}})


def spoiled(content: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in a record, a list's first for all of it."""
    inside = content.items() if isinstance(content, dict) else enumerate(content[:1])
    for name, value in inside:
        yield (*where, name)
        if isinstance(value, dict | list):
            yield from spoiled(value, (*where, name))


def test_whatever_a_record_holds_is_answered() -> None:
    text = whole(quantized()).model_dump_json()
    answered = 0
    for where in spoiled(json.loads(text)):
        for odd in ODD:
            content = json.loads(text)
            inner = content
            for name in where[:-1]:
                inner = inner[name]
            inner[where[-1]] = odd
            try:
                row = row_of(json.dumps(content).encode())
            except Unusable:
                continue
            answered += 1
            assert isinstance([*reservations(row), *departures(row), *beside(row).why], list)
    assert answered > 400


def test_the_kept_records_decide_what_they_are_kept_for() -> None:
    known = {made.run_id: made for made in map(read, KEPT.rglob("records/*/*.json"))}
    assert len(known) > 400
    assert {run: found for run, r in known.items() if (found := reservations(r, known.get))} == {}


@pytest.mark.parametrize(("change", "words"), REASONS)
def test_a_summary_marks_the_number(tmp_path: Path, change: Change, words: str) -> None:
    odd = change(record(cell("variation", 2)))
    odd = odd.model_copy(update={"metrics": {"top1_best": 80.0, **odd.metrics}})
    text = summary([(odd, False)], Store(tmp_path))
    assert "decides nothing: " in text
    assert words in text
    assert re.search(r"\| top1 \| (-?[\d.]+|nan)\* \|", text)
    assert "* A number that decides nothing" in text


def test_a_summary_says_what_is_wrong_with_any_needed_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    start = record(cell("fp32", 32), 1)
    teacher = waived(record(cell("lsq", 2), 2))
    made = record(cell("variation", 2), 3, needs={"fp32": start.run_id, "teacher": teacher.run_id})
    for one in (start, teacher):
        stored(store, one)
    text = summary([(made, False)], store)
    assert "its teacher run: the FP32 gate of 80 % was waived (--no-gate)" in text
    assert "| 80.00* | 80.50 | 80.00 | +0.00 |" in text


def test_a_summary_reads_the_needed_records_and_no_other(tmp_path: Path) -> None:
    """A damaged record of another cell, or a missing needed one, does not stop a finished run."""
    store = Store(tmp_path)
    start = record(cell("fp32", 32), 1)
    stored(store, start)
    damaged = store.beside("lsq-other", "20260101T000000-00000009", "json")
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    made = record(cell("variation", 2), 3, needs={"fp32": start.run_id})
    assert "FP32 80.00" in summary([(made, False)], store)
    store.beside(start.cell_id, start.run_id, "json").write_text("{")
    assert "FP32 80.00" not in summary([(made, False)], store)


def pair(change: Change, first: int = 0) -> list[Record]:
    """Three seeds of two methods, the second clearly better; one run of it is changed."""
    found = []
    for seed in range(3):
        for method, value in (("lsq", 80.0), ("variation", 82.0)):
            top1 = value + 0.1 * seed
            made = record(
                cell(method, 2, seed),
                first + len(found),
                metrics={"top1": top1, "top1_best": top1, "samples": 10000.0},
            )
            found.append(change(made) if (method, seed) == ("variation", 1) else made)
    return found


def waived(made: Record) -> Record:
    return made.model_copy(update={"execution": {"gate": False}})


def test_a_paired_difference_has_no_verdict_with_such_a_run() -> None:
    (before,) = paired(pair(lambda r: r))
    assert before.splitlines()[-1].endswith("| lower |")
    (after,) = paired(pair(waived))
    assert after.splitlines()[-1].endswith(
        "| undecided: the FP32 gate of 80 % was waived (--no-gate) |"
    )


def test_a_table_marks_the_number_takes_it_off_the_ranking_and_decides_no_pair(
    tmp_path: Path,
) -> None:
    for name, change, best, said in (
        ("plain", lambda r: r, "yes", ": higher."),
        ("odd", waived, "", ": undecided (the FP32 gate of 80 % was waived (--no-gate))."),
    ):
        lines = table_of(tmp_path / name, *pair(change), only="fashion")
        two = [e for e in lines if e["block"] == "W2A2" and e["metric"] == "top1"]
        ours = next(e for e in two if e["row"] == "variation-aware, released")
        assert ours["best"] == best
        assert ("Decides nothing: the FP32 gate" in ours["notes"]) == (name == "odd")
        text = (tmp_path / name / "out" / "fashion.md").read_text()
        (sentence,) = (x for x in text.splitlines() if "minus LSQ" in x or "LSQ minus" in x)
        assert sentence.endswith(said), sentence


@pytest.mark.parametrize(("change", "words"), [r for r in REASONS if "finite" not in r[1]])
def test_a_table_names_every_reason(tmp_path: Path, change: Change, words: str) -> None:
    """Of many seeds one is enough, and an FP32 run below is enough for one that rests on it."""
    good = [record(cell("variation", 2, seed), seed) for seed in (0, 1)]
    odd = change(record(cell("variation", 2, 2), 2))
    odd = odd.model_copy(update={"metrics": {"top1": 80.0, "top1_best": 80.0, **odd.metrics}})
    lines = table_of(tmp_path, *good, odd, only="fashion")
    found = entry(lines, "variation-aware, released", "W2A2", "top-1")
    assert words in found["notes"], found["notes"]
    assert found["verdict"] == "not comparable"


def test_a_table_names_what_is_wrong_with_the_fp32_run_below(tmp_path: Path) -> None:
    start = with_metrics(record(cell("fp32", 32), 1), top1=250.0)
    made = record(cell("variation", 2), 2, needs={"fp32": start.run_id})
    lines = table_of(tmp_path, start, made, only="fashion")
    found = entry(lines, "variation-aware, released", "W2A2", "top-1")
    assert "its fp32 run: top1 250 lies outside 0 to 100" in found["notes"]


def test_a_claim_is_undecided_with_such_a_run_and_says_why(tmp_path: Path) -> None:
    for name, change, verdict in (
        ("plain", lambda r: r, "holds"),
        ("odd", waived, "undecided"),
        (
            "changed",
            lambda r: with_provenance(r, git={"revision": "a", "dirty": True}),
            "undecided",
        ),
    ):
        store = Store(tmp_path / name)
        for made in pair(change):
            stored(store, longer(made))
        found = {r.key: r for r in claims(collect([store.root]), "embedded")}
        assert found["p1-beats-lsq-2-embedded"].verdict == verdict
        if name == "odd":
            assert "the FP32 gate of 80 % was waived (--no-gate) (run " in (
                found["p1-beats-lsq-2-embedded"].how
            )


def longer(made: Record) -> Record:
    """The same of the cells that claims name."""
    from suite.selectors import selector

    name = {"lsq": "fashion-lsq-2", "variation": "fashion-variation-2"}[made.cell["method"]]
    one = selector(name).cells()["fashion", made.cell.get("seed", 0)]
    return made.model_copy(update={"cell_id": one.id(1), "cell": one.delta()})


def test_a_claim_at_paper_scale_needs_the_papers_data_and_model(tmp_path: Path) -> None:
    from suite.selectors import selector

    for name, change, verdict in (
        ("whole", lambda r: r, "holds"),
        ("tree", lambda r: with_evaluation(with_metrics(r, samples=12.0), samples=12), "undecided"),
        ("model", lambda r: with_provenance(r, architecture=None), "undecided"),
    ):
        store = Store(tmp_path / name)
        number = 0
        for cells, value in (("imagenet-variation-2", 59.0), ("imagenet-lsq-2", 50.0)):
            for (_, seed), one in selector(cells).cells().items():
                number += 1
                top1 = value + 0.1 * seed
                metrics = {"top1": top1, "top1_best": top1, "samples": 50000.0}
                stored(store, change(whole(one, number, metrics=metrics)))
        found = {r.key: r for r in claims(collect([store.root]), "paper")}
        assert found["p1-beats-lsq-2-paper"].verdict == verdict, found["p1-beats-lsq-2-paper"].how


def test_an_effect_of_an_erratum_is_not_measured_by_such_runs(tmp_path: Path) -> None:
    from suite.errata import erratum
    from suite.errata_effects import effects
    from suite.selectors import selector

    entry = erratum("variation-B15")
    assert entry.effect_cells is not None
    for name, change, measured in (("plain", lambda r: r, True), ("odd", waived, False)):
        store = Store(tmp_path / name)
        number = 0
        for cells in (entry.effect_cells.first, entry.effect_cells.second):
            for one in selector(cells).cells().values():
                number += 1
                stored(store, change(record(one, number)))
        found = effects([entry], collect([store.root]))[entry.id]
        assert found.measured == measured
        assert ("not compared: the FP32 gate" in found.text) == (name == "odd")


def test_show_names_it_beside_the_record(tmp_path: Path) -> None:
    made = waived(record(cell("variation", 2)))
    stored(Store(tmp_path), made)
    done = CliRunner().invoke(app, ["show", made.cell_id, "--results", str(tmp_path)])
    assert done.exit_code == 0
    assert f"{made.run_id} decides nothing: the FP32 gate of 80 % was waived" in done.stderr
    assert "decides nothing" not in done.stdout


def test_the_report_names_it_at_the_run_and_under_the_figures(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for made in pair(waived):
        stored(store, made)
    out = tmp_path / "report.html"
    words = ["report", "--results", str(store.root), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    text = out.read_text()
    assert text.count("decides nothing: the FP32 gate of 80 % was waived") == 1
    assert "Among these are runs that decide nothing: the FP32 gate" in text


def test_published_points_are_drawn_beside_the_papers_own_data_alone(tmp_path: Path) -> None:
    from suite.report.figures import figures

    for name, change in (
        ("whole", lambda r: r),
        ("tree", lambda r: with_evaluation(r, classes=10, class_set="10 of imagenet-1k")),
    ):
        store = Store(tmp_path / name)
        for number, bits in enumerate((2, 3)):
            one = cell("variation", bits, task="imagenet")
            stored(store, change(whole(one, number)))
        drawn = {f.id: f for f in figures(collect([store.root], heavy=("history",)).runs)}
        bits_figure, curves = drawn["bits"], drawn["curves"]
        apart = [p.title for p in bits_figure.panels if p.title == "DeiT-T on ImageNet, published"]
        assert len(apart) == (0 if name == "whole" else 1)
        said = [
            p for p in curves.panels if p.title.endswith("the paper's data, model and training")
        ]
        assert len(said) == (2 if name == "whole" else 0)


# What is known of the data and the models


def test_the_official_sizes_are_those_that_the_tasks_check() -> None:
    from suite.tasks.glue import SPECS

    for spec in SPECS:
        own = originals().task[spec.name]
        dev = sum(rows for split, rows in spec.sizes.items() if split != "train")
        assert (own.training, own.samples) == (spec.sizes["train"], dev)
    assert set(originals().task) == {"imagenet", *(spec.name for spec in SPECS)}


def test_the_shipped_sizes_are_those_of_the_kept_records() -> None:
    seen = set()
    for made in map(read, KEPT.rglob("records/*/*.json")):
        task = made.cell["task"]
        if task in SHIPPED:
            seen.add(task)
            assert made.metrics["samples"] == SHIPPED[task]
    assert seen == set(SHIPPED) - {"fashion-full"}


@pytest.mark.parametrize("name", sorted(originals().model))
def test_the_named_models_are_built_as_the_papers_have_them(name: str) -> None:
    import torch

    from suite.models.architecture import architecture
    from suite.registry import MODELS

    if name not in ("deit_tiny", "deit_tiny_distilled"):
        known = originals().model[name]
        spec = MODELS.get(name)
        dims = getattr(spec, "dim", None) or spec.config.get("hidden_size", 768)
        assert dims == known.width
        return
    with torch.random.fork_rng():
        found = architecture(MODELS.get(name).build())
    known = originals().model[name]
    assert found == known.model_dump(by_alias=True, exclude={"source"})


def test_a_text_models_architecture_is_told_too() -> None:
    from suite.models.architecture import architecture
    from suite.registry import MODELS

    found = architecture(MODELS.get("bert_pico").skeleton(2))
    assert (found["depth"], found["width"], found["heads"]) == (2, 96, 4)
    assert found["class"] == originals().model["bert_base"].kind


def test_every_published_model_of_a_registered_name_is_known() -> None:
    """A published number can only be compared where its model's architecture is known."""
    for name in originals().model:
        assert canonical("models", name) == name


def test_measured_rows_have_facts_too() -> None:
    row = {"status": "measured", "method": "lsq", "model": "deit_tiny", "task": "imagenet"}
    facts = facts_of({**row, "w_bits": 4, "a_bits": 4, "dirty": False, "hardware": "cpu"})
    value = Published.model_validate(
        {
            **dict.fromkeys(
                ("paper", "table", "task", "dataset", "model", "method", "metric"), "x"
            ),
            **{"w_bits": 4, "a_bits": 4, "e_bits": None, "value": 1.0, "printed": "1.0"},
            **{"source": "x", "confidence": "primary", "protocol": {"hardware": "4 x A100"}},
        }
    )
    assert why_not(value, facts, "measure.memory") == ["hardware: 4 x A100 published, cpu here"]


def test_imagenet_as_the_builders_have_it_is_whole() -> None:
    assert departures(whole(quantized())) == []
    assert {"samples", "class_set"} <= IMAGENET.keys()
    assert PROVENANCE["data"]
