"""`--help` of every script answers at once: it imports nothing heavy, and runs from any folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "transformers", "tokenizers", "sentencepiece", "huggingface_hub")
SCRIPTS = sorted(
    str(file.relative_to(ROOT))
    for file in (
        *ROOT.glob("*.py"),
        *(ROOT / "finetune").glob("*.py"),
        *(ROOT / "inference").glob("*.py"),
        *(ROOT / "scripts").glob("*.py"),
    )
    if file.name != "setup.py" and "__main__" in file.read_text(encoding="utf-8")
)
# Runs every script's main(["--help"]) in one fresh interpreter, so the first heavy import names its script.
PROBE = """
import contextlib, importlib.util, io, sys
root, heavy, scripts = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
for script in scripts:
    name = "script_" + script.replace("/", "_")[:-3]
    spec = importlib.util.spec_from_file_location(name, root + "/" + script)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        spec.loader.exec_module(module)
        try:
            code = module.main(["--help"])
        except SystemExit as stop:
            code = stop.code
    assert not code, f"{script}: --help ended with {code}"
    assert out.getvalue().startswith("usage:"), f"{script}: --help printed {out.getvalue()[:80]!r}"
    loaded = [name for name in heavy if name in sys.modules]
    assert not loaded, f"{script}: --help imports {loaded}"
print("helped", len(scripts))
"""


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run the interpreter, as a user without an installed package would, in a folder of no meaning."""
    return subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=120)


def test_help_imports_nothing_heavy(tmp_path: Path):
    done = python("-c", PROBE, str(ROOT), ",".join(HEAVY), *SCRIPTS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"helped {len(SCRIPTS)}\n"


@pytest.mark.parametrize("script", SCRIPTS[:1] + SCRIPTS[-1:])
def test_help_from_another_folder(script: str, tmp_path: Path):
    done = python(str(ROOT / script), "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {Path(script).name}") or done.stdout.startswith(f"usage: {script}")
    assert list(tmp_path.iterdir()) == []


def test_every_script_ends_through_the_frame():
    for script in SCRIPTS:
        source = (ROOT / script).read_text(encoding="utf-8")
        assert "run(main" in source, f"{script} must end through uer.cli.run(main), which words all errors"
