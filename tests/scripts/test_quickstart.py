"""The tour through the toolkit: its commands, its last page, and (slowly) all of it."""

from __future__ import annotations

import json

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


@pytest.mark.slow
def test_the_whole_tour_with_few_steps(tour, tmp_path, capfd):
    sizes = ["--total_steps", "20", "--lm_steps", "20", "--epochs_num", "1"]
    assert tour.main(["--output_dir", str(tmp_path / "out"), *sizes]) == 0
    page = (tmp_path / "out" / "report.txt").read_text(encoding="utf-8")
    for words in ("test accuracy", "1,000 labels", "logistic regression on characters", "story_full.txt"):
        assert words in page
