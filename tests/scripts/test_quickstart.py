"""The tour through the toolkit: its commands, its last page, and (slowly) all of it."""

from __future__ import annotations

import html
import json
import re
import shlex

import pytest

from uer.config.quickstart import QuickstartOptions
from uer.errors import ConfigError, EnvironmentFault


@pytest.fixture
def tour(load_script):
    return load_script("scripts/quickstart.py")


def test_the_stages_follow_the_options(tour):
    stages = tour.stages("out", QuickstartOptions(total_steps=12, lm_steps=34, epochs_num=5))
    assert [stage.writes for stage in stages][1] == "pretrained.bin-12"
    assert "--total_steps 34" in stages[7].command and "--epochs_num 5" in stages[2].command
    assert all("out/" in stage.command for stage in stages)


def test_a_failed_stage_is_named(tour, tmp_path):
    stage = tour.Stage("pre-train", "pretrain.py --no_such_flag", "model.bin")
    with pytest.raises(EnvironmentFault, match="the stage 'pre-train' failed"):
        tour.run_stage(stage, tmp_path / "log")
    assert "unknown flag '--no_such_flag'" in (tmp_path / "log").read_text()


def test_a_folder_of_other_files_is_left_alone(tour, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        tour.main(["--output_dir", str(tmp_path)])
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_the_losses_become_a_curve(tour, tmp_path):
    folder = tmp_path / "model.bin.run"
    folder.mkdir()
    lines = [json.dumps({"step": step, "loss": loss}) for step, loss in ((1, 8.0), (2, 5.0), (3, 1.0))]
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    assert tour.curve(tmp_path / "model.bin") == "loss 8.00 █▅▁ 1.00"


def played(tour, out):
    """A tour whose stages write what the pages read, in no time."""

    def run_stage(stage, log):
        log.write_text("Acc. (Correct/Total): 0.9000\nBest Acc. is: 0.8000\n")
        file = out / stage.writes
        file.write_text("text_a\n1\n2\n" if file.suffix == ".tsv" else "这本书\n[CLS]这本书<很好>\n")
        if "pretrain" in stage.command.split()[0]:
            run = out / f"{stage.writes.rpartition('-')[0]}.run"
            run.mkdir()
            (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
            (run / "report.html").write_text("")
        stage.seconds = 61.0

    return run_stage


def test_the_last_pages(tour, tmp_path, monkeypatch, capsys):
    """For the terminal and for a browser; a folder with a blank in its name, given from where one stands."""
    out = tmp_path / "my tour"
    monkeypatch.setattr(tour, "run_stage", played(tour, out))
    monkeypatch.setattr("uer.data.store.Store", lambda path: range(1234))
    monkeypatch.setattr(tour, "unigram_baseline", lambda: 0.76)
    assert tour.main(["--output_dir", "my tour"]) == 0
    said = capsys.readouterr().out
    assert said == (out / "report.txt").read_text(encoding="utf-8")
    command = f"python3 inference/run_classifier_infer.py --load_model_path '{out}'/classifier.bin"
    assert command in said and f"open {out}/report.html" in said and "   这本书<很好>" in said
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "9 stages in 9 min 9 s" in page and "<b>0.900</b>" in page and "<b>0.760</b>" in page
    assert '<span class="soft">这本书</span> &lt;很好&gt;' in page and html.escape(command) in page
    links = re.findall('href="([^"]+)"', page)
    assert links == ["pretrained.bin.run/report.html", "language_model.bin.run/report.html"]
    assert page.count("1,234 instances") == 2 and "<td>grid.csv</td>" in page


def test_commands_stand_a_blank_in_the_folder(tour):
    for stage in tour.stages(shlex.quote("/my tour"), QuickstartOptions()):
        assert any(word.startswith("/my tour/") for word in shlex.split(stage.command))


@pytest.mark.slow
def test_the_whole_tour_with_few_steps(tour, tmp_path, capfd):
    sizes = ["--total_steps", "20", "--lm_steps", "20", "--epochs_num", "1"]
    assert tour.main(["--output_dir", str(tmp_path / "out"), *sizes]) == 0
    page = (tmp_path / "out" / "report.txt").read_text(encoding="utf-8")
    for words in ("test accuracy", "1,000 labels", "logistic regression on characters", "story_full.txt"):
        assert words in page
