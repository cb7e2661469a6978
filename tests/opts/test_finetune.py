"""What all scripts of fine-tuning and prediction share around their tasks."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from uer.config.finetune import ClassifierOptions, FinetuneOptions, GridOptions, SingleTextOptions
from uer.opts.finetune import finetune_command, inference_command, learning_options, training_options
from uer.training import launch

FILES = ["--train_path", "a.tsv", "--dev_path", "b.tsv"]


@pytest.fixture
def command():
    return finetune_command("run_classifier", "A classifier.", ClassifierOptions, SingleTextOptions)


def draws():
    """A number of each source."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_starting_seeds_every_source_of_random_numbers(command):
    first = command.start([*FILES, "--seed", "3"]) and draws()
    assert draws() != first
    assert (command.start([*FILES, "--seed", "3"]) and draws()) == first
    assert (command.start([*FILES, "--seed", "4"]) and draws()) != first


def test_arguments_of_a_classifier_come_from_its_flags(command):
    chosen = command.parse([*FILES, "--seq_length", "9", "--soft_targets", "--single_text_sep", "false"])
    assert learning_options(chosen) == {
        "seq_length": 9,
        "overflow": "truncate",
        "single_text_sep": False,
        "soft_targets": True,
        "class_weights": False,
    }
    given = training_options(chosen)
    assert given["options"] == chosen[FinetuneOptions] and given["settings"]["seq_length"] == 9


def test_a_command_of_prediction_takes_a_saved_model():
    command = inference_command("run_x_infer", "Predict.", SingleTextOptions)
    assert command.model == "saved" and command.model_flag == "load_model_path"
    assert command.parser.prog == "inference/run_x_infer.py"
    assert "says by itself what it is" in command.parser.description


@pytest.mark.parametrize(
    ("words", "wanted"),
    [([], 3), (["--world_size", "1"], 1), (["--world_size", "2"], 2), (["--gpu_ranks", "1"], 1)],
)
def test_one_model_is_trained_on_all_gpus(command, monkeypatch, words, wanted):
    started = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(launch, "launch_workers", lambda script, argv, told: started.append(told.world_size))
    command.parse([*FILES, *words])
    assert started == [wanted]


def test_a_search_puts_its_trials_on_the_gpus_itself(monkeypatch):
    started = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(launch, "launch_workers", lambda script, argv, told: started.append(told.world_size))
    finetune_command("run_classifier_grid", "Search.", GridOptions, SingleTextOptions).parse(FILES)
    assert started == [1]
