"""What `preprocess.py` says at its end: what it wrote, and what to type next."""

from __future__ import annotations

import os
from pathlib import Path

from uer.config.options import Options
from uer.config.preprocess import DATA_PROCESSORS, InstanceOptions
from uer.data.build import Built

# Data processor → a configuration that learns from it.
CONFIGS = {
    "bert": "models/bert/base_config.json",
    "mlm": "models/bert/base_config.json",
    "cls": "models/bert/base_config.json",
    "cls_mlm": "models/bert/base_config.json",
    "skep": "models/skep/ernie_1.0_large_config.json",
    "lm": "models/gpt2/config.json",
    "bilm": "models/rnn/bilstm_config.json",
    "albert": "models/albert/base_config.json",
    "mt": "models/transformer/base_config.json",
    "t5": "models/t5/base_config.json",
    "prefixlm": "models/bert/base_config.json",
    "gsg": "models/pegasus/base_config.json",
    "bart": "models/bart/base_config.json",
    "electra": "models/electra/base_config.json",
    "ernie_health": "models/ernie-health/base_config.json",
    "structbert": "models/structbert/large_config.json",
    "pert": "models/pert/base_config.json",
}


def summary(built: Built, path: str | Path) -> list[str]:
    """A few lines about a dataset just made."""
    header, size = built.header, os.path.getsize(path)
    read = sum(source["bytes"] for source in header["sources"])
    counts = header["counts"]
    what = ", ".join(
        f"{counts[name]:,} {name}" for name in ("documents", "lines", "tokens") if counts.get(name)
    )
    lines = [
        f"Read {read / 1e6:,.1f} MB ({what}) in {built.seconds:.1f} s, "
        f"{read / 1e6 / max(built.seconds, 1e-9):.1f} MB/s, at most {built.memory / 1e6:,.0f} MB a process.",
        f"Wrote {path}: {header['instances']:,} instances of --data_processor {header['objective']}, "
        f"{size / 1e6:,.1f} MB.",
    ]
    if header["masking"] is not None:
        copies = InstanceOptions.from_json(header["options"], "").copies
        lines.append(f"Masks are part of the dataset ({copies} copies of the text, each masked differently).")
    return lines


def next_command(header: dict, path: str | Path, *tokenizers: Options) -> str:
    """A command that trains on the dataset.

    Args:
        tokenizers: what was chosen for each side.
    """
    name = header["objective"]
    flags = [f"--dataset_path {path}"]
    for tokenizer in tokenizers:
        for flag, value in tokenizer.to_dict().items():
            if value is not None and value != getattr(type(tokenizer)(), flag):
                flags.append(f"--{flag} {str(value).lower() if isinstance(value, bool) else value}")
    flags += [f"--config_path {CONFIGS[name]}", "--output_model_path models/output_model.bin"]
    flags.append(f"--data_processor {name} --target {' '.join(DATA_PROCESSORS[name])}")
    if name == "prefixlm":
        flags.append("--mask causal_with_prefix")
    if "labels_num" in header:
        flags.append(f"--labels_num {header['labels_num']}")
    return f"python3 pretrain.py {' '.join(flags)}"
