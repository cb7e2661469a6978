"""What README and docs name exists: flags, in the script with which they are typed, pages behind links."""

from __future__ import annotations

import argparse
import re
from functools import cache
from pathlib import Path

import pytest

from tests.loading import load_script
from uer.utils.files import repository_root

ROOT = repository_root()
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md"))
    if page.parent.name[0] != "."
)
SCRIPTS = {
    str(file.relative_to(ROOT))
    for folder in ("", "finetune", "inference", "scripts", "benchmarks")
    for file in (ROOT / folder).glob("*.py")
    if "__main__" in file.read_text(encoding="utf-8") and not file.name.endswith("_sides.py")
} - {"setup.py"}
BY_NAME = {
    Path(script).stem: script for script in sorted(SCRIPTS)
}  # those of users, not of benchmarks, count
# Flag → the program that has it.
OF_OTHERS = {"--max-restarts": "torchrun", "--index-url": "pip"}
FLAG = re.compile(r"(?<![\w-])--[A-Za-z][\w-]*")


class Captured(Exception):
    """Carries a parser out of a script's `main`."""


@cache
def flags_of(script: str) -> frozenset[str]:
    """The flags that a script's parser knows."""

    def capture(parser, *words, **further):
        raise Captured(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", capture)
        if script.startswith("benchmarks/"):
            patch.syspath_prepend(str(ROOT / "benchmarks"))
        patch.setattr("sys.argv", [script])
        main = load_script(script).main
        with pytest.raises(Captured) as caught:
            main() if not main.__code__.co_argcount else main([])
    return frozenset(name for action in caught.value.args[0]._actions for name in action.option_strings)


def typed(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a page, in blocks and in spans: script, flags behind it."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.S)
    rest = re.sub(r"```.*?```", "", text, flags=re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", rest)]
    lines += re.findall(r"^    (python3 .*)", rest, re.M)
    found = []
    for line in lines:
        for command in re.split(r"[|;]", line):
            named = re.match(r"\s*(?:python3 )?((?:\w+/)?\w+\.py|run_\w+|inference/\w+)\b(.*)", command)
            script = named and (named[1] if named[1] in SCRIPTS else BY_NAME.get(Path(named[1]).stem))
            if script:
                found.append((script, FLAG.findall(named[2])))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_flags_exist_in_the_script_with_which_they_are_typed(page):
    wrong = [
        f"{script} {flag}"
        for script, flags in typed((ROOT / page).read_text(encoding="utf-8"))
        for flag in flags
        if flag not in flags_of(script)
    ]
    assert not wrong


@pytest.mark.parametrize("page", PAGES)
def test_flags_exist_at_all(page):
    known = {flag for script in SCRIPTS for flag in flags_of(script)} | set(OF_OTHERS)
    assert not set(FLAG.findall((ROOT / page).read_text(encoding="utf-8"))) - known


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    assert not [
        link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()
    ]


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_repository_that_are_named_exist(page):
    """What commands write is below models/ only; FOLDER and X stand for names."""
    folders = "uer|tests|benchmarks|docs|scripts|finetune|inference|corpora|datasets"
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(rf"`(?:python3 )?((?:{folders})/[\w./-]*\w)[^`\n]*`", text)
    assert not [name for name in named if "_X_" not in name and not (ROOT / name).exists()]


def test_every_page_is_found_from_the_readme():
    seen, to_read = set(), {"README.md"}
    while to_read:
        page = to_read.pop()
        seen.add(page)
        links = re.findall(r"\]\(([^)#:]+\.md)", (ROOT / page).read_text(encoding="utf-8"))
        to_read |= {
            str((ROOT / page).parent.joinpath(link).resolve().relative_to(ROOT)) for link in links
        } - seen
    assert {page for page in PAGES if page.startswith("docs/")} <= seen


def test_both_readmes_name_the_same():
    """Flags, files, links and names of code stand in both, section by section (forms of lines are words)."""
    named = []
    for page in ("README.md", "README_ZH.md"):
        text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S)
        text = re.sub(r"\[README\w*\.md\]\(README\w*\.md\)", "", text)  # each names the other
        sections = re.split(r"^#+ .*$", text, flags=re.M)
        named.append([sorted(re.findall(r"`([!-;=-~]+)`|\]\(([^)#][^)]*)\)", part)) for part in sections])
    assert named[0] == named[1]


def test_the_reader_of_pages_sees_flags():
    block = "```bash\npython3 x.py --c\npython3 preprocess.py \\\n    --d | cut -f 1\n```"
    assert typed(f"`pretrain.py --a 1` and `run_ner --b`\n{block}") == [
        ("preprocess.py", ["--d"]),
        ("pretrain.py", ["--a"]),
        ("finetune/run_ner.py", ["--b"]),
    ]
