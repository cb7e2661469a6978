"""Searches in processes: the space, killed and failing trials, a killed search, the page, the script."""

import json
import os
import random
import shlex
import sqlite3

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.scripts import Folder, finetune, script, sentence
from tests.tasks.trials import bowl
from uer.config.finetune import GridOptions
from uer.config.space import Range, parse_space
from uer.errors import ConfigError, DataError, UerError
from uer.opts.dialects import translate
from uer.tasks.rows import Examples
from uer.tasks.search_run import command_line, searchable
from uer.tasks.study import Attempt, Study, best_attempt, places
from uer.tasks.trial import read_examples
from uer.training.search_page import write_search_page

KINDS = {"learning_rate": float, "epochs_num": int, "batch_size": int, "pooling": str, "use_adv": bool}


def test_spaces_as_typed():
    space = parse_space(
        [
            "learning_rate=loguniform(1e-5, 1e-3)",
            "epochs_num=int(1,3)",
            "pooling = choice(first,mean)",
            "use_adv=choice(true,false)",
        ],
        KINDS,
    )
    assert space["learning_rate"] == Range("learning_rate", "loguniform", (1e-5, 1e-3))
    assert space["epochs_num"].listed == (1, 2, 3) and space["learning_rate"].listed is None
    assert space["pooling"].values == ("first", "mean") and space["use_adv"].values == (True, False)


@pytest.mark.parametrize(
    "entry, message",
    [
        ("learning_rate", "is not of the form FLAG=KIND"),
        ("learning_rat=uniform(0,1)", "'learning_rat' is no flag that can be searched. Did you mean"),
        (
            "learning_rate=logunifrm(1,2)",
            "'logunifrm' is unknown; choose from loguniform, uniform, int, choice",
        ),
        ("learning_rate=uniform(1,x)", "learning_rate: 'x' is no value of type float"),
        ("learning_rate=uniform(0,inf)", "'inf' is no value of type float"),
        ("learning_rate=uniform(2,1)", "give the lowest and the highest value"),
        ("learning_rate=uniform(2)", "give the lowest and the highest value"),
        ("learning_rate=loguniform(0,1)", "the lowest value must be above 0"),
        ("learning_rate=int(1,2)", "--learning_rate is of type float; use choice"),
        ("epochs_num=uniform(1,2)", r"--epochs_num is of type int; use int\(LOW,HIGH\)"),
        ("use_adv=choice(yes)", "'yes' is no value of type bool"),
        ("batch_size=choice()", "name one value or more"),
        ("batch_size=choice(2,2)", "none of them twice"),
    ],
)
def test_faulty_spaces(entry, message):
    with pytest.raises(ConfigError, match=message):
        parse_space([entry], KINDS)


def test_a_flag_named_twice():
    with pytest.raises(ConfigError, match="names batch_size twice"):
        parse_space(["batch_size=choice(1)", "batch_size=choice(2)"], KINDS)


@given(st.text(max_size=40))
def test_any_entry_is_a_range_or_a_message(text):
    try:
        parse_space([text], KINDS)
    except ConfigError as error:
        assert str(error).startswith("--search_space")


def test_what_may_be_searched():
    names = searchable()
    assert {"learning_rate", "dropout", "pooling", "lora_rank", "seq_length", "layerwise_lr_decay"} <= set(
        names
    )
    assert not {"train_path", "seed", "embedding", "hidden_size", "overflow", "best_metric"} & set(names)
    assert not {"labels_num", "resume", "save_checkpoint_steps", "decoder", "dry_run", "wandb"} & set(names)


def study(path, how="grid", pruner="none", **space):
    return Study(path / "s.db", "key", space, how=how, pruner=pruner, seed=7)


def test_killed_and_failing_trials_are_failed_trials(tmp_path):
    x, kill = Range("x", "choice", (0.0, 1.0)), Range("kill", "choice", (False, True))
    memory = Range("memory", "choice", (False, True))
    search = study(tmp_path, x=x, kill=kill, memory=memory)
    assert search.queue_grid() == 8
    heard = []
    attempts = search.run(bowl, 8, 2, heard.append)
    assert len(attempts) == len(heard) == 8
    notes = {(a.params["kill"], a.params["memory"]): a.note for a in attempts}
    assert notes[True, False] == "its process was killed by signal 9; out of memory?"
    assert notes[False, True] == "out of memory: 1 GB"
    best = best_attempt(attempts)
    assert (best.params["x"], best.score, best.epoch) == (1.0, 0, 3)
    again = study(tmp_path, x=x, kill=kill, memory=memory)
    assert again.queue_grid() == 8 and again.run(None, 8, 2) == attempts  # nothing is run any more


def test_all_trials_failed(tmp_path):
    with pytest.raises(UerError, match="all 1 trials failed; the first: out of memory"):
        search = study(tmp_path, x=Range("x", "choice", (1.0,)), memory=Range("memory", "choice", (True,)))
        search.queue_grid()
        search.run(bowl, 1, 1)


def test_a_killed_search_goes_on(tmp_path):
    space = {"x": Range("x", "choice", (0.0, 1.0, 2.0, 3.0))}
    first = study(tmp_path, **space)
    first.queue_grid()
    first.run(bowl, 2, 1)
    lost = first.study.ask(first.distributions)  # was running when the search was killed
    second = study(tmp_path, **space)
    assert second.queue_grid() == 4
    attempts = second.run(bowl, 4, 2)
    assert sorted(a.params["x"] for a in attempts) == [0, 1, 2, 3]
    assert lost.params["x"] in [a.params["x"] for a in attempts[2:]]


@pytest.mark.parametrize("how", ["random", "tpe"])
def test_draws_from_ranges(tmp_path, how):
    search = study(tmp_path, how=how, x=Range("x", "uniform", (-3.0, 3.0)))
    attempts = search.run(bowl, 12, 1)
    assert len({a.params["x"] for a in attempts}) == 12
    assert all(-3 <= a.params["x"] <= 3 for a in attempts)
    assert best_attempt(attempts).score > -1


@pytest.mark.parametrize("how", ["random", "tpe"])
def test_a_search_that_goes_on_draws_anew(tmp_path, how):
    """What was drawn before it was killed is not drawn, and trained, once more."""
    space = {"x": Range("x", "uniform", (-3.0, 3.0)), "y": Range("y", "int", (1, 1000))}
    for total in (3, 6, 9):
        attempts = study(tmp_path, how=how, **space).run(bowl, total, 1)
    assert len({(a.params["x"], a.params["y"]) for a in attempts}) == 9


@pytest.mark.parametrize("pruner", ["median", "asha"])
def test_pruners_give_up_what_falls_behind(tmp_path, pruner):
    values = (1.0, 1.1, 0.9, 1.2, 0.8, 9.0, 8.0)
    search = study(tmp_path, pruner=pruner, x=Range("x", "choice", values))
    search.queue_grid()
    attempts = search.run(bowl, len(values), 1)
    notes = {a.params["x"]: a.note for a in attempts}
    assert notes[9.0] == notes[8.0] == "pruned" and best_attempt(attempts).params["x"] == 1.0


def test_a_file_that_is_no_data_base(tmp_path):
    (tmp_path / "s.db").write_text("no data base" * 100)
    with pytest.raises(DataError, match="cannot be used for the search"):
        study(tmp_path, x=Range("x", "choice", (1.0,)))


def test_places():
    cores = len(os.sched_getaffinity(0))
    assert places(None, 0) == (cores, 1) and places(1, 0) == (1, cores) and places(None, 4)[0] == 4


def test_cut_is_what_reading_shorter_gives():
    offsets = np.array([0, 3, 8, 9])
    whole = Examples(
        np.arange(9), np.ones(9, np.int8), offsets, np.array([False, True, False]), {"cls": np.arange(3)}
    )
    cut = whole.cut(4)
    assert cut.ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 8] and cut.lengths.tolist() == [3, 4, 1]
    assert cut.long.tolist() == [False, True, False] and cut.labels["cls"].tolist() == [0, 1, 2]


def test_the_page_stands_alone(tmp_path):
    rng = random.Random(1)
    trials = [
        Attempt({"learning_rate": 10 ** rng.uniform(-5, -3), "pooling": rng.choice("ab"),
                 "n": rng.randint(1, 30)}, rng.random(), 1, 2.0).__dict__
        for _ in range(30)
    ]  # fmt: skip
    trials.append(Attempt({"learning_rate": 1e-4, "pooling": "<b>", "n": 2}, None, 0, 1.0, "pruned").__dict__)
    write_search_page(tmp_path / "p.html", "model.search", "acc", trials, "python3 x --y 1", 40)
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    best = max(t["score"] for t in trials if t["score"] is not None)
    assert "31 of 40 trials" in page and f"best acc {best:.4f}" in page
    assert "<span>python3 x</span> <span>--y 1</span>" in page
    assert "Parallel coordinates" in page and page.count("<polyline") == 30 and 'class="heat"' in page
    assert "&lt;b&gt;" in page and "<script" not in page and "http" not in page.replace("http-equiv", "")
    write_search_page(tmp_path / "p.html", "m", "acc", trials[-1:], None, 40)
    assert "none has a score yet" in (tmp_path / "p.html").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    folder, rng = Folder(tmp_path), random.Random(2)
    folder.table("rows.tsv", ["label", "text_a"], [[rng.choice("xy"), sentence(rng)] for _ in range(48)])
    return folder


def test_the_script_searches_and_the_best_command_reaches_its_score(folder, capsys):
    settings = {"search": "random", "trials_num": 3, "workers_num": 1, "epochs_num": 3, "batch_size": 16}
    space = ["learning_rate=loguniform(1e-4,1e-2)", "pooling=choice(mean,max)", "seq_length=choice(8,16)"]
    finetune("run_classifier_grid", folder, search_space=space, seq_length=16, **settings)
    out, err = capsys.readouterr()
    page = (folder.path / "model.bin.search" / "search.html").read_text(encoding="utf-8")
    assert "3 of 3 trials" in page and "best acc 0." in page
    best = float(err.split("Best Acc. is: ")[1][:6])
    command = shlex.split(out.strip().splitlines()[-1])
    assert command[:2] == ["python3", "finetune/run_classifier.py"] and "--config_path" in command
    plan = json.loads((folder.path / "model.bin.search" / "plan.json").read_text())
    threads = torch.get_num_threads()
    torch.set_num_threads(plan["threads"])  # sums are rounded otherwise with another number
    script("finetune/run_classifier").main(command[2:])
    torch.set_num_threads(threads)
    again = capsys.readouterr().err
    assert f"score {best:.4f}" in again
    finetune("run_classifier_grid", folder, search_space=space, seq_length=16, **settings)
    assert "3 of 3 trials are finished and not run again" in capsys.readouterr().err
    assert plan["values"]["epochs_num"] == 3
    assert len(read_examples(folder.path / "model.bin.search" / "train.npz", 16)) == 48
    with sqlite3.connect(folder.path / "model.bin.search" / "study.db") as base:
        assert base.execute("select count(*) from trials").fetchone() == (3,)


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"search_space": ["dropout=uniform(0,1)"]}, "--search_space is for --search"),
        ({"pruner": "median"}, "--pruner is for --search"),
        ({"workers_num": 2}, "--workers_num is for --search"),
        ({"search": "grid", "search_space": ["dropout=uniform(0,0.5)"]}, "--search grid tries all values"),
        (
            {"search": "tpe", "search_space": ["seq_length=int(8,64)"], "seq_length": 32},
            "up to seq_length 64",
        ),
        (
            {"search": "grid", "search_space": ["seq_length=choice(8,16)"], "overflow": "window"},
            "--search_space names seq_length, but windows are cut once, at --seq_length; take it out",
        ),
        (
            {"search": "tpe", "search_space": ["epochs_num=int(1,3)"], "epochs_num_list": [1]},
            "--epochs_num_list and --search_space both name epochs_num",
        ),
        ({"search": "tpe", "best_metric": "f1"}, "f1.* acc, macro_f1"),
        (
            {"search": "random", "early_stopping": "rouge1:2"},
            "--early_stopping .rouge1. is unknown; choose from acc",
        ),
    ],
)
def test_options_that_do_not_fit(folder, flags, message):
    with pytest.raises(ConfigError, match=message):
        finetune("run_classifier_grid", folder, **flags)


def test_every_typed_flag_can_be_pasted():
    """The classifier's script takes the command and understands what was typed for the search."""
    grid, single = (script(f"finetune/{name}").COMMAND for name in ("run_classifier_grid", "run_classifier"))
    values = {"embedding": "word_pos", "tgt_embedding": "word", "target": "bert", "batch_size": "8"}
    left_out = {"help", "print_config", *GridOptions.names()}
    typed = []
    for action in grid.parser._actions:
        if action.dest not in left_out and action.option_strings[0] == f"--{action.dest}":
            word = "true" if action.metavar == "true|false" else "x"
            kind = {int: "3", float: "0.5"}.get(action.type, word)
            value = [] if action.nargs == 0 else [values.get(action.dest, kind)]
            typed += [action.option_strings[0], *value]
    assert len(typed) > 100
    written = translate(grid.parser.written(typed), "--")
    del written["print_config"]
    pasted = shlex.split(command_line(written, {}))
    again = translate(single.parser.written(pasted[2:]), "--")
    del again["print_config"]
    flags = {action.dest for action in single.parser._actions}
    assert again == {name: value for name, value in written.items() if name in flags and value is not None}


def test_the_command_line():
    written = {"train_path": "a b.tsv", "embedding": ("word", "pos"), "use_adv": True, "grid_path": "g.csv",
               "single_text_sep": False}  # fmt: skip
    assert command_line(written, {"learning_rate": 1e-4}) == (
        "python3 finetune/run_classifier.py --train_path 'a b.tsv' --embedding word pos --use_adv "
        "--single_text_sep false --learning_rate 0.0001"
    )
