"""The page in a real browser, English and Chinese; SCREENSHOTS in the environment: a folder for pictures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from uer.utils.files import repository_root

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome")
RUN = {"en": "Run", "zh": "运行"}
GROWTH = """
window.sizes = new Set();
new MutationObserver(() => {
  const mark = document.querySelector('.text mark');
  if (mark) sizes.add(mark.textContent.length);
}).observe(document.body, {childList: true, subtree: true, characterData: true});
"""
"""the lengths that the new text had on the page"""
SAME = {"en": "The same on the command line", "zh": "等价的命令行"}


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("browser absent: pip install 'uer[browser]'")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("browser absent: install the package chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(models, browser):
    """`visit("lm.bin", lang="zh")`: a tab on the page of these models, served by the script."""
    started, tabs, faults = [], [], []

    def call(*names, lang="en", **settings):
        paths = [str(models / name) for name in names]
        words = [sys.executable, str(repository_root() / "scripts" / "serve.py"), "--port", "0"]
        server = subprocess.Popen(
            [*words, "--load_model_path", *paths, "--seq_length", "64"], stdout=subprocess.PIPE, text=True
        )
        started.append(server)
        url = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())[0]
        tab = browser.new_page(viewport={"width": 1100, "height": 820}, **settings)
        tabs.append(tab)
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("console", lambda said: faults.append(said.text) if is_fault(said) else None)
        tab.goto(f"{url}/?lang={lang}")
        tab.wait_for_selector("body[data-ready]")
        return tab

    yield call
    for tab in tabs:
        tab.close()
    for server in started:
        server.terminate()
        server.wait(timeout=20)
    assert faults == []


def is_fault(said) -> bool:
    """An error in the browser's log; a refused question is none."""
    return said.type == "error" and "400 (Bad Request)" not in said.text


def picture(tab, name: str) -> None:
    """Keep a screenshot where somebody wants to look at it."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        tab.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def ask(tab, **fields) -> None:
    """Fill in the fields and press the button."""
    for name, value in fields.items():
        tab.fill(f"#field-{name}", value)
    tab.click("#go")
    tab.wait_for_selector("#go:not([disabled])", timeout=60_000)


def test_blanks_in_chinese_and_english(visit):
    tab = visit("mlm.bin", lang="zh")
    assert tab.inner_text("#go") == "运行"
    ask(tab, text="今天天气很[MASK]，我们去公园[MASK]。", topn="5")
    assert len(tab.query_selector_all(".bar")) == 10
    assert "cloze_test.py" in tab.inner_text("pre")
    picture(tab, "fill_zh")
    tab.click("#language")
    assert tab.inner_text("#go") == "Run" and tab.get_attribute("html", "lang") == "en"
    assert tab.input_value("#field-text").startswith("今天天气很")  # what was typed stays
    assert "The same on the command line" in tab.inner_text("#results")
    picture(tab, "fill_en")


def in_language(tab, lang: str) -> None:
    """The page speaks one language throughout."""
    assert tab.get_attribute("html", "lang").startswith(lang)
    assert tab.inner_text("#go") == RUN[lang] and SAME[lang] in tab.inner_text("#results")
    labels = " ".join(label.inner_text() for label in tab.query_selector_all("label"))
    assert bool(re.search("[\u4e00-\u9fff]", labels)) == (lang == "zh"), labels


@pytest.mark.parametrize("lang", RUN)
def test_a_text_grows_and_can_be_stopped(visit, lang):
    tab = visit("lm.bin", lang=lang)
    tab.evaluate(GROWTH)
    ask(tab, text="从前有一座山", max_new_tokens="50", seed="3")
    assert len(tab.inner_text(".text mark")) > 5 and "--seed 3" in tab.inner_text("pre")
    assert tab.evaluate("sizes.size") > 1  # it was shown while it grew
    in_language(tab, lang)
    picture(tab, f"continue_{lang}")
    tab.route("**/api/continue", lambda route: None)  # an answer that never comes
    tab.click("#go")
    tab.click("#stop")
    tab.wait_for_selector("#go:not([disabled])", timeout=20_000)
    assert tab.query_selector(".error") is None


@pytest.mark.parametrize("lang", RUN)
def test_a_text_for_a_text(visit, lang):
    tab = visit("text2text.bin", lang=lang)
    ask(tab, text="今天很好", top_k="1")
    written = tab.inner_text(".text mark")
    assert written and tab.inner_text(".text") == f"今天很好\n→ {written}"
    in_language(tab, lang)
    title = {"en": "Write for a text", "zh": "由文本写文本"}[lang]
    assert tab.inner_text("#tab-continue") == title and title in tab.inner_text("#models")
    picture(tab, f"text2text_{lang}")


@pytest.mark.parametrize("lang", RUN)
def test_two_models_side_by_side(visit, lang):
    tab = visit("lm.bin", "large_lm.bin", lang=lang)
    ask(tab, text="从前有一座山", max_new_tokens="12", top_k="1")
    texts = [mark.inner_text() for mark in tab.query_selector_all(".text mark")]
    assert len(texts) == 2 and texts[0] != texts[1]
    left, right = (card.bounding_box() for card in tab.query_selector_all("#results .card"))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    in_language(tab, lang)
    picture(tab, f"compare_{lang}")


@pytest.mark.parametrize("lang", RUN)
def test_labels_with_bars(visit, lang):
    tab = visit("classifier.bin", lang=lang)
    tab.click("#example")
    ask(tab)
    widths = [bar.bounding_box()["width"] for bar in tab.query_selector_all(".bar i")]
    assert len(widths) == 3 and widths == sorted(widths, reverse=True)
    in_language(tab, lang)
    picture(tab, f"classify_{lang}")


@pytest.mark.parametrize(("lang", "example"), [("en", "Marie Curie was born in Warsaw ."), ("zh", None)])
def test_entities_in_colour_on_a_telephone(visit, lang, example):
    tab = visit("ner.bin", lang=lang)
    tab.click("#example")
    ask(tab)
    marked = tab.query_selector_all(".text em")
    assert marked and marked[0].get_attribute("style").startswith("background")
    shown = tab.evaluate("document.querySelector('.text').cloneNode(true)"
                         ".textContent.replace(/PER|LOC/g, '')")  # fmt: skip
    assert shown == (example or tab.input_value("#field-text"))
    in_language(tab, lang)
    tab.set_viewport_size({"width": 400, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    picture(tab, f"tag_{lang}")


@pytest.mark.parametrize("lang", RUN)
def test_a_passage_is_asked(visit, lang):
    tab = visit("qa.bin", lang=lang)
    tab.click("#example")
    ask(tab)
    answer = tab.inner_text(".answer")
    assert answer and tab.inner_text(".text mark").strip() == answer
    in_language(tab, lang)
    picture(tab, f"ask_{lang}")


def test_an_answer_behind_pictures(visit):
    """Characters of two halves stand in front of the passage, in it and behind it."""
    tab = visit("qa.bin")
    passage = "😀😀 北京𠮷是中国的首都 😀"
    ask(tab, text=passage, question="首都是哪里？")
    assert tab.inner_text(".text") == passage
    assert tab.inner_text(".text mark").strip() == tab.inner_text(".answer")


def test_an_error_is_shown(visit):
    tab = visit("mlm.bin")
    tab.fill("#field-text", "no blank")
    tab.click("#go")
    tab.wait_for_selector(".error")
    assert "[MASK]" in tab.inner_text(".error")
