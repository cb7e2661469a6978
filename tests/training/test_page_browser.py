"""The page of a run in a real browser, narrow and wide, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.test_browser import browser  # noqa: F401
from tests.training.test_page import RECORDS, page

pytestmark = pytest.mark.slow
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_any_screen_and_asks_for_nothing(browser, width):  # noqa: F811
    long = {"dataset_path": "/a/very/long/path" * 9, "target": ["mlm", "sp"]}
    page([*RECORDS, {"step": 100, "eval_loss": 2.5}], config=long)
    grounds, asked, faults = set(), [], []
    for scheme in ("light", "dark"):
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.goto(Path("m.bin.run/report.html").resolve().as_uri())
        tab.locator("summary").click()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("svg").count() == 5
        grounds.add(tab.evaluate(GROUND))
        tab.close()
    assert len(asked) == 2 and not faults and len(grounds) == 2
