"""The one script of the report page: the policy allows it and nothing else; sorting and filtering work in Chromium."""

import base64
import hashlib
import shutil
from functools import partial

import pytest

from tests.ml.report.parsed_page import Page
from tests.ml.report.rendered_pages import everything

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome in PATH")
WIDTHS = (1280, 768, 390)
# What reaches out of the page, but for what scrolls within itself.
BEYOND = """() => [...document.querySelectorAll("body *")]
    .filter((each) => !each.closest(".scroll, nav, svg"))
    .filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map((each) => each.tagName + "." + each.className)"""
ROWS = """(column) => [...document.querySelectorAll("#slices ~ .scroll tbody tr:not([hidden])")]
    .map((row) => row.cells[column].dataset.value ?? row.cells[column].firstChild.textContent.trim())"""


def test_the_policy_allows_this_script_and_nothing_else(rendered):
    page = Page(everything(rendered)[2])
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert page.policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert len(page.script) > 1000


@pytest.fixture
def opened(rendered):
    """`open(script=…, width=…)` gives the full report in Chromium; at the end nothing may have gone wrong on it."""
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    _, answer, _ = everything(rendered)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        wrong = []

        def run(*, script=True, width=1280):
            context = browser.new_context(java_script_enabled=script, viewport={"width": width, "height": 800})
            page = context.new_page()
            page.on("console", lambda message: wrong.append(message.text))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda request: wrong.append(request.url) if request.url[:5] != "file:" else None)
            page.goto(answer.path.as_uri())
            return page

        yield run
        browser.close()
    assert wrong == []


def numbers(cells):
    """The cells' numbers, and how many cells after the last number have none."""
    found = [float(cell) for cell in cells if cell]
    assert cells == [*cells[: len(found)], *[""] * (len(cells) - len(found))]
    return found, len(cells) - len(found)


@needs_chromium
def test_columns_sort_by_click_and_by_key_and_what_is_not_measurable_stays_last(opened):
    page = opened()
    heading = page.locator("#slices ~ .scroll thead th")
    cells = partial(page.evaluate, ROWS)
    assert len(cells(0)) == 25
    page.locator(".more").click()
    assert len(cells(0)) == 192
    assert not page.locator(".more").is_visible()
    heading.nth(5).locator("button").click()
    falling, without = numbers(cells(5))
    assert falling == sorted(falling, reverse=True)
    assert without > 20
    assert heading.nth(5).get_attribute("aria-sort") == "descending"
    heading.nth(5).locator("button").focus()
    page.keyboard.press("Enter")
    rising, still_without = numbers(cells(5))
    assert (rising, still_without) == (sorted(falling), without)
    assert heading.nth(5).get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert heading.nth(6).get_attribute("aria-sort") == "descending"
    assert heading.nth(5).get_attribute("aria-sort") is None
    heading.nth(1).locator("button").click()
    values = cells(1)
    pages = [value for value in values if value.startswith("page")]
    assert pages[::3] == [f"page {number}" for number in range(12)]  # 2 before 10
    importance = page.locator("#importance ~ .scroll")
    importance.locator("thead button").nth(1).click()
    importance.locator("thead button").nth(1).click()
    assert [row.split()[0] for row in importance.locator("tbody tr").all_inner_texts()] == ["field", "page"]


@needs_chromium
def test_rows_are_filtered_by_task_and_by_field(opened):
    page = opened()
    cells = partial(page.evaluate, ROWS)
    page.locator("select[data-column=task]").select_option("CVR")
    assert set(cells(2)) == {"CVR"}
    assert page.locator("[role=status]").inner_text() == "25 of 64 shown"
    page.locator("select[data-column=field]").select_option("page")
    assert set(cells(2)) == {"CVR"}
    assert cells(0) == ["page"] * 12
    assert page.locator("[role=status]").inner_text() == "12 of 12 shown"
    page.locator("#slices ~ .scroll thead button").nth(3).click()
    assert len(cells(0)) == 12
    page.locator("select[data-column=task]").select_option("")
    assert len(cells(0)) == 25
    assert page.locator(".more").inner_text() == "Show all 36"


@needs_chromium
def test_without_script_every_row_stands_in_a_plain_table(opened):
    page = opened(script=False)
    assert page.locator("#slices ~ .scroll tbody tr:visible").count() == 192
    assert page.locator("thead button, select:visible, .more:visible").count() == 0


@needs_chromium
def test_nothing_reaches_out_of_the_page_at_any_width(opened):
    for width in WIDTHS:
        page = opened(width=width)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(BEYOND) == []
