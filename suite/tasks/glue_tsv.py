"""GLUE in its official layout: one folder a task, tab-separated files without quoting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from suite.errors import EnvironmentProblem, Missing
from suite.tasks.encoding import Examples
from suite.tasks.glue_spec import Spec, unlabelled

PARAPHRASE = "msr_paraphrase_train.txt"
"""MRPC as its owner distributes it: train and validation rows in one file."""
DEV_IDS = ("dev_ids.tsv", "mrpc_dev_ids.tsv")
"""The pairs of row numbers that GLUE made MRPC's validation split."""

Row = tuple[int, list[str]]
"""Number of the line in its file, from 1, and its fields."""


def is_tsv(folder: Path, spec: Spec) -> bool:
    """Whether `folder` holds the official files of the task."""
    return (folder / "train.tsv").is_file() or _is_paraphrase(folder, spec)


def read_tsv(folder: Path, spec: Spec) -> dict[str, Examples]:
    """Every split of the task; raises Missing or EnvironmentProblem with the file and line."""
    if _is_paraphrase(folder, spec) and not (folder / "train.tsv").is_file():
        return _read_paraphrase(folder, spec)
    paths = {split: folder / f"{stem}.tsv" for split, stem in spec.splits.items()}
    for path in paths.values():
        if not path.is_file():
            raise Missing(
                f"{spec.name} needs {path}, which is not there; get the official GLUE archive of "
                f"{spec.folder} again (a test split has no labels and cannot stand in)."
            )
    return {split: examples(path, *_table(path, spec), spec) for split, path in paths.items()}


def header_of(folder: Path, spec: Spec) -> list[str]:
    """The columns of the training file in `folder`; raises Missing when there is no such file."""
    path = folder / (PARAPHRASE if _is_paraphrase(folder, spec) else "train.tsv")
    if not path.is_file():
        raise Missing(f"{spec.name} needs {path}, which is not there; put the official file there.")
    header = list(spec.header) or next(lines(path), (0, []))[1]
    if not spec.header:
        _check_header(path, header, spec)
    return header


def _is_paraphrase(folder: Path, spec: Spec) -> bool:
    return spec.key == "mrpc" and (folder / PARAPHRASE).is_file()


def _read_paraphrase(folder: Path, spec: Spec) -> dict[str, Examples]:
    ids = next((folder / name for name in DEV_IDS if (folder / name).is_file()), None)
    if ids is None:
        raise Missing(
            f"{folder} holds {PARAPHRASE} but no {DEV_IDS[0]}, which says which pairs are GLUE's "
            "validation split; put the file of GLUE's MRPC archive beside it."
        )
    held_out = {tuple(fields[:2]) for _, fields in lines(ids)}
    path = folder / PARAPHRASE
    header, rows = _table(path, spec)
    one, two = (_column(path, header, name) for name in ("#1 ID", "#2 ID"))
    found: dict[str, list[Row]] = {"train": [], "validation": []}
    for row in rows:
        split = "validation" if (row[1][one], row[1][two]) in held_out else "train"
        found[split].append(row)
    return {split: examples(path, header, part, spec) for split, part in found.items()}


def _table(path: Path, spec: Spec) -> tuple[list[str], list[Row]]:
    """Header and complete rows. Rows that a line break inside a text tore apart are left out as
    far as the official file has such rows (QQP), which is what `datasets` does too."""
    found = lines(path)
    header = list(spec.header) or next(found, (0, []))[1]
    if not spec.header:
        _check_header(path, header, spec)
    rows: list[Row] = []
    broken: list[Row] = []
    last = 0
    for row in found:
        last = row[0]
        (rows if len(row[1]) >= len(header) else broken).append(row)
    _check_broken(path, header, broken, spec.broken * len(rows), last, spec)
    if not rows:
        raise EnvironmentProblem(f"{path} holds no rows; get the official file again.")
    return header, rows


def lines(path: Path) -> Iterator[Row]:
    """Lines end at a line feed alone: texts hold other characters that Python takes for ends."""
    with path.open("rb") as handle:
        for number, raw in enumerate(handle, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise EnvironmentProblem(
                    f"Line {number} of {path} is not UTF-8; get the official file again."
                ) from None
            text = text.rstrip("\r\n")
            yield number, text.split("\t") if text else []


def _check_header(path: Path, header: list[str], spec: Spec) -> None:
    needed = (*spec.tsv_columns, spec.tsv_label)
    lacking = [name for name in needed if name not in header]
    if lacking == [spec.tsv_label] or header == ["index", "sentence"]:
        raise unlabelled(f"{path} (without a column {spec.tsv_label!r})")
    if lacking:
        raise EnvironmentProblem(
            f"{path} has no column {', '.join(map(repr, lacking))}; {spec.name} needs "
            f"{', '.join(map(repr, needed))} in its first line, which is {'|'.join(header)!r}."
        )


def _check_broken(
    path: Path, header: list[str], broken: list[Row], tolerated: float, last: int, spec: Spec
) -> None:
    """Raise for incomplete rows, unless they are few and inside the file."""
    cut = bool(broken) and broken[-1][0] == last
    if not cut and len(broken) <= tolerated:
        return
    number, fields = broken[-1] if len(broken) <= tolerated + 1 else broken[0]
    if fields == ["index", "sentence"]:
        raise unlabelled(f"{path} (a test file, with the header 'index', 'sentence')")
    columns = f"{len(header)} columns ({', '.join(header)})"
    what = "is cut off at" if cut and number == last else "has"
    found = f"{what} {len(fields)} of {columns}" if fields else f"is empty where {columns} belong"
    raise EnvironmentProblem(
        f"Line {number} of {path} {found}; the file is damaged, get the official one again."
    )


def _column(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        raise EnvironmentProblem(f"{path} has no column {name!r}; get the official file again.")
    return header.index(name)


def examples(path: Path, header: list[str], rows: list[Row], spec: Spec) -> Examples:
    places = [header.index(name) for name in spec.tsv_columns]
    label = header.index(spec.tsv_label)
    texts: list[list[str]] = [[] for _ in places]
    targets = []
    for number, fields in rows:
        where = f"Line {number} of {path}"
        for column, place in zip(texts, places, strict=True):
            column.append(fields[place])
        if not any(fields[place].strip() for place in places):
            raise EnvironmentProblem(f"{where} has no text; remove it or get the file again.")
        targets.append(_target(fields[label], where, spec))
    return Examples(texts[0], texts[1] if len(texts) > 1 else None, spec.targets(targets))


def _target(word: str, where: str, spec: Spec) -> int | float:
    if word in ("-1", ""):
        raise unlabelled(where)
    if not spec.names:
        return spec.rating(word, where)
    if word not in spec.words:
        raise EnvironmentProblem(
            f"{where} has the label {word!r}; {spec.name} has {', '.join(spec.words)}; get the "
            "official file again."
        )
    return spec.words.index(word)
