"""benchmarks/parity.py: it says what is right, and fails on what is wrong."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from uer.utils.files import repository_root

GOLDEN = repository_root() / "tests" / "golden"


@pytest.fixture
def main(load_script):
    return load_script("benchmarks/parity.py").main


def copied(folder, era, *cases):
    folder.mkdir(exist_ok=True)
    for case in cases:
        for suffix in (".json", ".safetensors"):
            shutil.copyfile(GOLDEN / era / f"{case}{suffix}", folder / f"{case}{suffix}")
    return folder


def test_right_numbers(main, tmp_path, capsys):
    folders = [
        copied(tmp_path / "a", "uer-2021", "bert"),
        copied(tmp_path / "b", "uer-tasks", "prompt", "encoder_bigru"),
    ]
    assert main(["--golden", *map(str, folders)]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == ["bert", "encoder_bigru", "prompt"]
    assert out.count("ok") == 3


def test_a_wrong_number_is_a_miss(main, tmp_path, capsys):
    folder = copied(tmp_path / "a", "uer-2024", "bert")
    tensors = load_file(folder / "bert.safetensors")
    tensors["out.encoder"] += 1e-3
    save_file(tensors, folder / "bert.safetensors")
    assert main(["--golden", str(folder)]) == 1
    assert "MISS in encoder" in capsys.readouterr().out


def test_what_is_not_known_is_said(main, tmp_path, capsys):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "other.json").write_text(json.dumps({"tensors": {}}))
    assert main(["--golden", str(folder)]) == 0
    assert "nothing that is known: no model, optimiser, schedule or metric" in capsys.readouterr().out


def test_something_must_be_named(main):
    with pytest.raises(SystemExit):
        main([])


WRONG = {
    "c3": "out.loss",
    "chid": "out.logits_nothing_masked",
    "cmrc": "out.end_logits",
    "metric_cmrc": "out.f1",
    "metric_dbqa": "out.plain.mrr",
    "metric_confusion": "out.f1",
    "metric_multi_label": "out.acc",
    "metric_ner": "out.perfect.batch1.f1",
    "metric_spearman": "out.regression_spearman",
    "optim_adafactor_pretrain_linear": "out.step30.output_layer_2.weight",
    "optim_adamw_finetune_constant": "out.step2.embedding.word.embedding.weight",
    "sched_pretrain": "out.lr.tri_stage",
    "sched_finetune_fraction": "out.lr.cosine",
    "adv_fgm_pgd": "out.fgm_eps1.grad.output_layer_2.weight",
    "generate_gpt2": "out.margin",
    "generate_seq2seq_t5": "out.first_logits",
}
"""cases, and in each a number that is made wrong"""


def test_heads_metrics_optimisers_schedules_and_texts(main, tmp_path, capsys, shared):
    folder = tmp_path / "a"
    folder.mkdir()
    for case in WRONG:
        for suffix in (".json", ".safetensors"):
            shutil.copyfile(shared / "golden" / "uer-tasks" / f"{case}{suffix}", folder / f"{case}{suffix}")
    assert main(["--golden", str(folder)]) == 0
    assert capsys.readouterr().out.count("ok") == len(WRONG)
    for case, name in WRONG.items():
        tensors = load_file(folder / f"{case}.safetensors")
        tensors[name] += 1e-3
        save_file(tensors, folder / f"{case}.safetensors")
    assert main(["--golden", str(folder)]) == 1
    missed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "MISS" in line]
    assert sorted(missed) == sorted(WRONG)


def test_every_case_of_a_task_has_a_check(shared):
    from tests.models import golden_checks

    cases = sorted((shared / "golden" / "uer-tasks").glob("*.json"))
    checked = [golden_checks.checker(json.loads(path.read_text(encoding="utf-8")))[0] for path in cases]
    assert len(cases) == 53 and all(checked)
