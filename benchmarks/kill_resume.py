#!/usr/bin/env python3
"""Pre-training is killed (SIGKILL) at random moments and resumed each time; does it end with the same bits?

The moments are drawn over start-up, training and saving. At the end weights, optimiser state and reported
losses are compared with those of a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import REPOSITORY, machine, table

CONFIG = {
    **{"emb_size": 128, "hidden_size": 128, "feedforward_size": 512, "heads_num": 2, "layers_num": 2},
    **{"max_seq_length": 128, "dropout": 0.1, "hidden_act": "gelu", "embedding": ["word", "pos", "seg"]},
    **{"encoder": "transformer", "mask": "fully_visible", "target": ["mlm"], "tie_weights": True},
}


def prepare(folder: Path) -> None:
    """A vocabulary of 400 characters, a corpus in which they follow each other by rules, and the dataset."""
    draw, characters = random.Random(0), [chr(0x4E00 + i) for i in range(400)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    with open(folder / "corpus.txt", "w", encoding="utf-8") as file:
        for _ in range(3000):
            place, step = draw.randrange(400), draw.randrange(1, 6)
            file.write(
                "".join(characters[(place + step * i) % 400] for i in range(draw.randrange(20, 90))) + "\n"
            )
    (folder / "config.json").write_text(json.dumps(CONFIG))
    files = "--corpus_path corpus.txt --vocab_path vocab.txt --dataset_path data.pt"
    subprocess.run(
        [
            sys.executable,
            REPOSITORY / "preprocess.py",
            *shlex.split(files),
            *shlex.split("--data_processor mlm --seq_length 64 --dynamic_masking"),
        ],
        cwd=folder,
        check=True,
        stderr=subprocess.DEVNULL,
    )


def start(folder: Path, name: str, flags: list[str]) -> subprocess.Popen:
    """Pre-training in a process of its own."""
    command = (
        "--dataset_path data.pt --vocab_path vocab.txt --config_path config.json --report_steps 1 --resume"
    )
    words = [*shlex.split(command), "--output_model_path", name, *flags]
    with open(folder / f"{name}.log", "a") as log:
        return subprocess.Popen(
            [sys.executable, REPOSITORY / "pretrain.py", *words], cwd=folder, stdout=log, stderr=log
        )


def steps_done(folder: Path, name: str) -> int:
    """Batches after which the newest checkpoint was written; 0 when there is none."""
    return max(
        (int(path.name.split("-")[-1].split(".")[0]) for path in folder.glob(f"{name}-*.state")), default=0
    )


def steps_reported(folder: Path, name: str) -> int:
    """Batches after which the run last said something."""
    file = folder / f"{name}.run" / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return json.loads(lines[-1])["step"] if lines and lines[-1].endswith("}") else 0


def wait_for_a_moment(process: subprocess.Popen, folder: Path, draw: random.Random, args: Any) -> str:
    """Let the run go on until a random moment, while it starts or some steps later; that moment in words."""
    if draw.random() < 0.15:
        seconds = draw.uniform(0, 4)
        time.sleep(seconds)
        return f"{seconds:.2f} s, while starting"
    until = steps_done(folder, "killed.bin") + draw.uniform(0, 2 * args.total_steps / args.kills)
    while process.poll() is None and steps_reported(folder, "killed.bin") < until:
        time.sleep(0.005)
    time.sleep(draw.uniform(0, 0.1))
    return f"step {steps_reported(folder, 'killed.bin')}"


def equal(folder: Path, total: int) -> dict[str, bool]:
    """What is the same to the bit in both runs."""
    import torch

    from uer.checkpoints import read_state

    def tensors(file: str) -> bool:
        one, other = (read_state(folder / file.format(name)) for name in ("whole.bin", "killed.bin"))
        return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)

    def losses(name: str) -> list[tuple[int, float]]:
        lines = (folder / f"{name}.run" / "metrics.jsonl").read_text().splitlines()
        return [(record["step"], record["loss"]) for record in map(json.loads, lines)]

    return {
        "weights": tensors(f"{{}}-{total}"),
        "optimiser": tensors(f"{{}}-{total}.state/optimizer.safetensors"),
        "reported losses": losses("whole.bin") == losses("killed.bin"),
    }


def main() -> int:
    """Run, kill, resume, compare; exit code 1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--total_steps", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="keep everything here")
    parser.add_argument("flags", nargs="*", help="further flags of pretrain.py, behind --")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    flags = [
        "--total_steps",
        str(args.total_steps),
        "--save_checkpoint_steps",
        "6",
        "--save_total_limit",
        "3",
    ]
    flags += ["--batch_size", "16", "--accumulation_steps", "3", "--learning_rate", "1e-3", *args.flags]
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(args.folder or name)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder)
        if start(folder, "whole.bin", flags).wait() != 0:
            raise SystemExit((folder / "whole.bin.log").read_text())
        rows: list[tuple] = []
        while len(rows) < args.kills:
            process = start(folder, "killed.bin", flags)
            moment = wait_for_a_moment(process, folder, draw, args)
            process.kill()
            if process.wait() == 0:
                print(f"the run was finished after {len(rows)} kills; raise --total_steps")
                break
            rows.append((len(rows) + 1, moment, steps_done(folder, "killed.bin")))
        if start(folder, "killed.bin", flags).wait() != 0:
            raise SystemExit((folder / "killed.bin.log").read_text())
        print(table(("kill", "after", "newest checkpoint"), rows))
        same = equal(folder, args.total_steps)
        fell_back = (folder / "killed.bin.log").read_text().count("Falling back")
    print(f"{len(rows)} kills, {fell_back} damaged checkpoints passed over.")
    for what, holds in same.items():
        print(f"{what}: {'the same to the bit' if holds else 'DIFFERENT'}")
    return 0 if all(same.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
