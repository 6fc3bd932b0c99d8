"""The report in a browser: it opens, sorts, follows links, changes its theme, and says no word on
the console."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report_records import fill

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)

OPEN_ALL = "document.querySelectorAll('details').forEach((d) => { d.open = true; })"


def _browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if not found or not shutil.which("chromedriver"):
        pytest.skip("no Chromium with its driver here: apt-get install chromium chromium-driver")
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the command writes from records with awkward names."""
    folder = tmp_path_factory.mktemp("report")
    fill(folder / "results")
    out = folder / "report.html"
    words = ["report", "--results", str(folder / "results"), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "suite", *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode in (0, 1), done.stderr
    assert out.is_file(), done.stderr
    return out


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pytest.importorskip("selenium", reason="selenium is not installed: pip install selenium")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _browser()
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    started.set_page_load_timeout(60)
    yield started
    started.quit()


@pytest.fixture
def opened(driver: Any, report: Path) -> Any:
    driver.get("about:blank")
    driver.get(report.as_uri())
    return driver


def test_the_page_opens_without_a_word_on_the_console(opened: Any) -> None:
    assert "Does this paper hold?" in opened.title
    assert [entry["message"] for entry in opened.get_log("browser")] == []


def test_the_page_passes_the_accessibility_checks(opened: Any) -> None:
    assert opened.execute_script(_script("accessibility.js")) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_words_have_enough_contrast(opened: Any, theme: str) -> None:
    opened.execute_script(f"document.documentElement.dataset.theme = {theme!r}")
    opened.execute_script(OPEN_ALL)
    assert opened.execute_script(_script("contrast.js")) == []


def test_a_column_sorts_up_down_and_back(opened: Any) -> None:
    column = """
      const table = document.querySelector('#figure-bits table');
      return [...table.tBodies[0].rows].map((row) => row.cells[3].dataset.sort ?? '');
    """
    state = "return document.querySelectorAll('#figure-bits thead th')[3].getAttribute('aria-sort')"
    click = "document.querySelectorAll('#figure-bits button.sort')[3].click()"
    before = opened.execute_script(column)
    for wanted, order in (("ascending", 1), ("descending", -1)):
        opened.execute_script(click)
        assert opened.execute_script(state) == wanted
        shown = [order * float(value) for value in opened.execute_script(column)]
        assert shown == sorted(shown)
        assert wanted in opened.execute_script("return document.getElementById('told').textContent")
    opened.execute_script(click)
    assert opened.execute_script(state) == "none"
    assert opened.execute_script(column) == before


def test_sorting_leaves_blocks_and_their_headings_together(opened: Any) -> None:
    blocks = """
      const table = document.querySelector('#table-fashion table');
      return [...table.tBodies].map((body) => [...body.rows].map((row) => row.textContent.trim()));
    """
    before = opened.execute_script(blocks)
    for _ in range(2):  # descending by method
        opened.execute_script("document.querySelector('#table-fashion button.sort').click()")
    after = opened.execute_script(blocks)
    assert len(before) > 1
    assert [rows[0] for rows in after] == [rows[0] for rows in before]
    assert [sorted(rows) for rows in after] == [sorted(rows) for rows in before]
    assert after != before


def test_sorting_works_from_the_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.execute_script("document.querySelector('#figure-bits details').open = true")
    button = opened.find_elements("css selector", "#figure-bits button.sort")[0]
    button.send_keys(Keys.ENTER)
    head = opened.find_element("css selector", "#figure-bits th")
    assert head.get_attribute("aria-sort") == "ascending"


def test_a_number_leads_to_its_record(opened: Any) -> None:
    opened.execute_script("document.querySelector('#figure-curves details').open = true")
    link = opened.find_element("css selector", "#figure-curves td.number a")
    target = link.get_attribute("href").partition("#")[2]
    link.click()
    assert opened.current_url.endswith(f"#{target}")
    visible = (
        f"const r = document.getElementById('{target}').getBoundingClientRect();"
        "return r.top >= 0 && r.bottom <= innerHeight;"
    )
    assert _eventually(opened, visible)
    assert opened.find_element("css selector", f"#{target} th").text == target.removeprefix("run-")


def test_a_link_into_a_closed_part_opens_it(opened: Any) -> None:
    opened.execute_script(
        "const d = document.querySelector('#figure-bits details'); d.open = false;"
        "d.querySelector('caption').id = 'inside'; location.hash = 'inside';"
    )
    script = "return document.querySelector('#figure-bits details').open"
    assert _eventually(opened, script)


def test_the_theme_goes_round_and_is_remembered(opened: Any) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    seen = {}
    for _ in range(3):
        opened.find_element("id", "theme").click()
        word = opened.find_element("css selector", "#theme .theme-word").text
        seen[word] = opened.execute_script(ground)
    assert set(seen) == {"Theme: light", "Theme: dark", "Theme: auto"}
    assert seen["Theme: light"] != seen["Theme: dark"]
    opened.find_element("id", "theme").click()
    opened.refresh()
    assert opened.find_element("css selector", "#theme .theme-word").text == "Theme: light"


def test_a_phone_scrolls_tables_and_never_the_page(opened: Any) -> None:
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        opened.execute_script(OPEN_ALL)
        width = opened.execute_script("return document.documentElement.scrollWidth")
        assert width <= 390
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_prints(opened: Any) -> None:
    import base64

    printed = opened.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


def _script(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _eventually(driver: Any, script: str, seconds: float = 5.0) -> bool:
    from selenium.webdriver.support.ui import WebDriverWait

    return bool(WebDriverWait(driver, seconds).until(lambda d: d.execute_script(script)))
