"""`pretrain.py` by two processes: the same numbers as by one, and one that dies ends all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import preprocess
import pretrain
from tests.training.engine_runs import free_ports
from uer.checkpoints import read_state
from uer.cli import run

ROOT = Path(__file__).resolve().parents[2]
CHARS = [chr(code) for code in range(0x4E00, 0x4E60)]
CONFIG = {
    **{"emb_size": 16, "hidden_size": 16, "feedforward_size": 32, "heads_num": 2, "layers_num": 2},
    **{"max_seq_length": 64, "dropout": 0.0, "hidden_act": "gelu", "embedding": ["word", "pos", "seg"]},
    **{"encoder": "transformer", "mask": "fully_visible", "target": ["mlm"], "tie_weights": True},
}


@pytest.fixture(autouse=True)
def made(tmp_path):
    """A vocabulary, a config and a dataset whose masks do not depend on the process that asks for them."""
    draw = np.random.default_rng(1)
    text = ["".join(draw.choice(CHARS, int(draw.integers(8, 24)))) for _ in range(120)]
    Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARS]) + "\n")
    Path("corpus.txt").write_text("\n".join(text) + "\n")
    Path("config.json").write_text(json.dumps(CONFIG))
    files = ["--corpus_path", "corpus.txt", "--vocab_path", "vocab.txt", "--dataset_path", "mlm.pt"]
    preprocess.main([*files, "--data_processor", "mlm", "--seq_length", "32", "--dup_factor", "1"])


def free_port() -> int:
    (port,) = free_ports(1)
    return port


def words(name: str, batch_size: int, *more: str, steps: int = 4) -> list[str]:
    return [
        *("--dataset_path", "mlm.pt", "--vocab_path", "vocab.txt", "--config_path", "config.json"),
        *("--output_model_path", name, "--total_steps", str(steps), "--batch_size", str(batch_size)),
        *("--report_steps", "2", "--save_checkpoint_steps", "2", "--learning_rate", "0.01"),
        *("--accumulation_steps", "2", "--precision", "fp32", *more),
    ]


def two_workers() -> list[str]:
    return ["--world_size", "2", "--backend", "gloo", "--master_ip", f"tcp://localhost:{free_port()}"]


def figures(name: str) -> list[dict]:
    lines = (Path(f"{name}.run") / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_two_workers_give_the_numbers_of_one_and_either_goes_on_from_the_other(capfd):
    assert run(pretrain.main, words("one.bin", 16)) == 0
    assert run(pretrain.main, words("two.bin", 8, *two_workers(), steps=2)) == 0
    said = capfd.readouterr()
    assert "Using distributed mode for training." in said.out and "Worker 0 is training ... " in said.err
    assert len(re.findall("Saved two.bin-2", said.err)) == 1
    # 2 workers × 8 rows, then 1 × 16 rows: the same instances
    assert run(pretrain.main, words("two.bin", 16, "--resume")) == 0
    one, two = read_state("one.bin-4"), read_state("two.bin-4")
    assert one.keys() == two.keys()
    assert all((one[name] - two[name]).abs().max() <= 1e-5 for name in one)
    for ours, theirs in zip(figures("one.bin"), figures("two.bin")):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours["acc_mlm"] == theirs["acc_mlm"] and ours["gradient_norm"] == pytest.approx(
            theirs["gradient_norm"], rel=1e-4
        )


def children(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True)
    return [int(word) for word in listed.stdout.split()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_ends_all_and_a_stopped_run_saves(number):
    command = [sys.executable, str(ROOT / "pretrain.py"), *words("two.bin", 8, *two_workers(), steps=100000)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in process.stderr:
        if " steps|" in line:
            break
    workers = children(process.pid)
    began = time.monotonic()
    os.kill(workers[1] if number == signal.SIGKILL else process.pid, number)
    rest = process.stderr.read()
    code = process.wait()
    assert time.monotonic() - began < 60
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    if number == signal.SIGKILL:
        assert code not in (0, 130)
        assert re.search(r"worker 1 was killed by SIGKILL \(by hand, or .* memory; it had \d\.\d GB", rest)
    else:
        assert code == 130
        step = int(re.search(r"Stopped after (\d+) of 100000 steps", rest).group(1))
        assert f"Saved two.bin-{step}." in rest or Path(f"two.bin-{step}.state").is_dir()


def test_a_fault_of_a_worker_is_one_line(capfd):
    assert run(pretrain.main, words("two.bin", 8, *two_workers(), "--dataset_path", "none.pt")) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert any("none.pt" in line for line in errors)


def test_torchrun_starts_again_and_the_run_goes_on():
    """A worker kills itself at step 5 of the first attempt; the second one resumes from step 4."""
    Path("run.py").write_text(
        f"import os, signal, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "import pretrain\n"
        "from uer.cli import run\n"
        "from uer.training import loop\n"
        "inner = loop._Loop.update\n"
        "def update(self, window):\n"
        "    inner(self, window)\n"
        "    first = os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'\n"
        "    if first and self.workers.rank == 1 and window.span.last > 5:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "loop._Loop.update = update\n"
        "sys.exit(run(pretrain.main, sys.argv[1:]))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--max-restarts", "1"]
    command += ["--master_port", str(free_port()), "run.py", *words("two.bin", 8, "--resume", steps=8)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "No checkpoint of two.bin is there" in done.stderr and "Resuming from two.bin-4" in done.stderr
    assert run(pretrain.main, words("one.bin", 16, steps=8)) == 0
    one, two = read_state("one.bin-8"), read_state("two.bin-8")
    assert all((one[name] - two[name]).abs().max() <= 1e-5 for name in one)


def test_a_hang_ends_with_the_stacks_of_all_workers():
    Path("run.py").write_text(
        f"import sys, time\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "import pretrain\n"
        "from uer.cli import run\n"
        "from uer.training import loop\n"
        "loop._Loop.update = lambda self, window: time.sleep(100)\n"
        "sys.exit(run(pretrain.main, sys.argv[1:]))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]
    command += [str(free_port()), "run.py", *words("two.bin", 8, "--timeout", "20")]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode != 0 and time.monotonic() - began < 150
    assert "Timeout (0:00:20)!" in done.stderr and "in <lambda>" in done.stderr


def started_by_slurm(*argvs: list[str]) -> list[tuple[int, str]]:
    """Exit codes and last words of processes that srun would have started, with a command each."""
    port, jobs = free_port(), []
    for rank, argv in enumerate(argvs):
        env = {**os.environ, "SLURM_NTASKS": str(len(argvs)), "SLURM_PROCID": str(rank)}
        env |= {"SLURM_LOCALID": str(rank), "SLURM_STEP_ID": "0", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(ROOT / "pretrain.py"), *argv]
        command += ["--master_ip", f"tcp://localhost:{port}"]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        jobs.append(subprocess.Popen(command, env=env, **pipes))
    said = [job.communicate(timeout=200)[1] for job in jobs]
    return [(job.returncode, text) for job, text in zip(jobs, said)]


def test_workers_of_slurm_and_a_worker_that_was_told_something_else():
    """The second one has a wider model: that is said before tensors are exchanged."""
    assert [code for code, _ in started_by_slurm(*[words("two.bin", 8, steps=2)] * 2)] == [0, 0]
    assert run(pretrain.main, words("one.bin", 16, steps=2)) == 0
    one, two = read_state("one.bin-2"), read_state("two.bin-2")
    assert all((one[name] - two[name]).abs().max() <= 1e-5 for name in one)
    Path("wide.json").write_text(json.dumps({**CONFIG, "hidden_size": 32, "emb_size": 32}))
    other = [word.replace("config.json", "wide.json") for word in words("no.bin", 8)]
    for code, text in started_by_slurm(words("no.bin", 8), other):
        assert code == 2 and text.splitlines()[-1] == (
            "error: the run of worker 1 differs from that of worker 0; start all workers with the same "
            "command, files and versions."
        )
    assert not list(Path().glob("no.bin-*"))
