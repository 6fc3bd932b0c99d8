"""The report's page: everything escaped, every link resolves, the same bytes every time."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from suite.collect import collect, newest
from suite.report.figures import figures
from suite.report.logs import logs_of
from suite.report.model import Entry, HeaderCell, Note, Row, Table
from suite.report.page import Content, Noted, page, write_report
from suite.report.rerun import command
from suite.report.templating import script_digest, table_html
from tests.report_records import SCRIPT, fill

HEAVY = ("history", "diagnosis")


@dataclass(frozen=True)
class Claim:
    """What the page needs of a claim's result."""

    id: str = "P1-1"
    key: str = "P1-1-embedded"
    paper: str = "P1"
    text: str = f"holds {SCRIPT}"
    scale: str = "embedded"
    verdict: str = "holds"
    effect: float | None = 1.04
    shown: str = "+1.04 points (+0.51 to +1.56)"
    expected: str = "more than 0 points"
    stands_for: str = ""
    needs_missing: tuple[str, ...] = ()
    how: str = "seed by seed"
    source: str = "abstract"
    run_ids: tuple[str, ...] = ()


class Page(HTMLParser):
    """Ids, links, scripts and tables of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self.tables = self.captions = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [found["href"] or ""] if tag == "a" and "href" in found else []
        self.scripts += tag == "script"
        self.tables += tag == "table"
        self.captions += tag == "caption"


def table(run_ids: tuple[str, ...] = ()) -> Table:
    entry = Entry(
        text="80.10",
        value=80.1,
        low=79.85,
        high=80.35,
        runs=3,
        published=59.73,
        published_text="59.73",
        difference=20.37,
        difference_text="+20.37",
        verdict="not comparable",
        why=f"model: {SCRIPT}",
        best=True,
        notes=("a",),
        run_ids=run_ids,
    )
    return Table(
        id="p1-fashion",
        title=f"Fashion {SCRIPT}",
        paper="P1",
        scale="embedded",
        header=(
            (HeaderCell(""), HeaderCell("W2A2", 2)),
            (HeaderCell("method"), HeaderCell("top1"), HeaderCell("time")),
        ),
        rows=(
            Row(SCRIPT, (entry, Entry(mark="not run")), group="Block"),
            Row(
                "fp32",
                (Entry(mark="cannot run", why="no GPU"), Entry(published_mark="not published")),
                group="Block",
            ),
        ),
        legend=(("≠", "not comparable"),),
        notes=(Note("a", f"note {SCRIPT}"), Note("", "holds for all"), Note("", "so does this")),
        footer=("from 3 runs",),
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    root = tmp_path_factory.mktemp("results")
    fill(root)
    collected = collect([root], heavy=HEAVY)
    runs = tuple(newest(collected.runs)["run_id"][:3])
    noted = Noted("variation-A1", "P1", SCRIPT, SCRIPT, SCRIPT, (SCRIPT,), SCRIPT, runs[:1])
    return Content(
        collected=collected,
        tables=(table(runs), table_refused()),
        figures=figures(newest(collected.runs)),
        claims=(
            Claim(run_ids=runs),
            Claim(
                key="P1-2-embedded",
                verdict="missing",
                effect=None,
                shown="",
                needs_missing=(f"lowbit run --method {SCRIPT}", "a GPU"),
            ),
        ),
        errata=(noted,),
        problems=(f"a problem with {SCRIPT}",),
    )


def table_refused() -> Table:
    return Table(
        "refused",
        "Refused",
        "P2",
        ((HeaderCell("method"),),),
        (),
        refused=f"because {SCRIPT}",
        problems=(f"because {SCRIPT}",),
    )


@pytest.fixture(scope="module")
def text(content: Content, tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(content, tmp_path_factory.getbasetemp() / "out" / "report.html")


def test_nothing_that_was_read_becomes_markup(text: str) -> None:
    assert SCRIPT not in text
    assert text.count("<script") == 1
    assert Page(text).scripts == 1


def test_only_the_pages_own_script_may_run(text: str) -> None:
    policy = r"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src (\S+);"
    found = re.search(policy, unescape(text))
    assert found
    script = text.partition("<script>")[2].partition("</script>")[0]
    assert found[1] == script_digest(script)
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


def test_ids_are_unique_and_every_inner_link_leads_somewhere(text: str) -> None:
    found = Page(text)
    assert len(found.ids) == len(set(found.ids))
    inner = [unquote(link[1:]) for link in found.links if link.startswith("#")]
    assert len(inner) > 30
    assert set(inner) <= set(found.ids)


def test_every_record_is_listed_and_its_file_is_where_the_link_says(
    content: Content, tmp_path: Path
) -> None:
    out = tmp_path / "some where" / "report.html"
    write_report(content, out)
    files = [link for link in Page(out.read_text()).links if link.endswith(".json")]
    assert len(files) == len(content.collected.runs)
    assert all((out.parent / unquote(link)).is_file() for link in files)


def test_every_table_has_a_caption(text: str) -> None:
    found = Page(text)
    assert found.tables == found.captions > 5


def test_the_same_content_gives_the_same_bytes(content: Content, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_report(content, out)
    first = out.read_bytes()
    write_report(content, out)
    assert out.read_bytes() == first


def test_a_mean_links_to_its_configuration_and_a_single_run_to_its_row(text: str) -> None:
    told = 'class="best" title="mean of 3 runs, 79.85 to 80.35">80.10'
    assert re.search(f'<a href="#runs-[0-9a-f]{{10}}" {told}', text)
    assert re.search(r'<dd><a href="#run-20260101T', text)


def test_marks_verdicts_and_notes_have_words_beside_their_signs() -> None:
    drawn = str(table_html(table()))
    for word in ("not run", "cannot run", "not published", " not comparable"):
        assert f'<span class="unseen">{word}</span>' in drawn
    assert 'title="no GPU"' in drawn
    assert drawn.count("<li id=") == 1
    assert drawn.count("<li>") == 2
    assert '<a href="#run' not in drawn


def test_a_refused_table_says_why_once(text: str) -> None:
    assert text.count("because lsq&lt;script&gt;") == 1


def test_no_records_give_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    empty = page(Content(collect([tmp_path])), tmp_path / "report.html")
    assert "There are no records" in empty
    assert "No claim could be judged" in empty
    assert "No table could be built" in empty


def test_the_command_of_a_stored_cell_selects_that_cell_again() -> None:
    from suite.grid import Choice, select

    for cell in select(Choice(tasks=("fashion", "snippets", "agreement"), everything=True)).cells:
        words = command([cell.to_json()])
        assert words.startswith("lowbit run --task"), cell.label


def test_a_changed_recipe_is_part_of_the_command() -> None:
    from suite.grid import Choice, select

    (cell,) = select(Choice(methods=("lsq",), tasks=("fashion",), recipe={"epochs": 3})).cells
    assert command([cell.to_json()]).count("--recipe") == 1
    assert "epochs=3" in command([cell.to_json()])


def test_a_cell_of_no_grid_has_no_command() -> None:
    assert command(['{"method":"unheard","model":"deit_pico","task":"fashion"}']) == ""
    assert command(["{}"]) == ""


def test_a_run_of_a_sweep_links_to_its_log(tmp_path: Path) -> None:
    store = fill(tmp_path / "results")
    record = next(r for r in store.records() if r.status == "failed")
    log = store.root / "sweeps" / "s" / "logs" / "1_0_log.err"
    log.parent.mkdir(parents=True)
    log.write_text("it said so")
    event = store.root / "sweeps" / "s" / "jobs" / record.cell_id / "20260101T000000-ended.json"
    event.parent.mkdir(parents=True)
    event.write_text(json.dumps({"kind": "ended", "log": str(log)}))
    text = page(Content(collect([store.root])), tmp_path / "report.html")
    links = [unquote(link) for link in Page(text).links if link.endswith("log.err")]
    assert [tmp_path / link for link in links] == [log]


def test_damaged_event_files_of_a_sweep_are_no_logs(tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "s" / "jobs" / "cell"
    folder.mkdir(parents=True)
    for name, content in (("1-ended", "{"), ("2-ended", "[]"), ("3-ended", '{"log": 3}')):
        (folder / f"{name}.json").write_text(content)
    assert logs_of([str(tmp_path)]) == {}
