"""Where a run computes: UER's flags for processes and GPUs, checked against what the machine has."""

from __future__ import annotations

import torch

from uer.config.training import DistributedOptions
from uer.errors import EnvironmentFault
from uer.training.workers import Workers


def choose_workers(options: DistributedOptions) -> Workers:
    """The processes that train together, as the flags say; prints UER's first line on stdout.

    Raises:
        EnvironmentFault: GPUs are asked for that are not there.
    """
    device = choose_device(options)
    mode = "CPU mode" if device.type == "cpu" else f"GPU {device.index}"
    print(f"Using {mode} for training.", flush=True)
    return Workers(device)


def choose_device(options: DistributedOptions) -> torch.device:
    """The device of a single process: the GPU of `--gpu_ranks`, else the first one, else the CPU.

    Raises:
        EnvironmentFault: GPUs are asked for that are not there; the message says what to type instead.
    """
    visible = torch.cuda.device_count()
    ranks = " ".join(map(str, options.gpu_ranks))
    if options.world_size > 1 and visible < options.world_size:
        asked = f"--world_size {options.world_size}" + (f" --gpu_ranks {ranks}" if ranks else "")
        instead = (
            "leave both out to train on the CPU"
            if not visible
            else f"type --world_size {visible} --gpu_ranks {' '.join(map(str, range(visible)))}"
        )
        raise EnvironmentFault(
            f"{asked} needs {options.world_size} GPUs and this machine has {visible or 'none'}; {instead}."
        )
    if not visible:
        if ranks:
            raise EnvironmentFault(
                f"--gpu_ranks {ranks} asks for a GPU and this machine has none; "
                "leave it out to train on the CPU."
            )
        return torch.device("cpu")
    index = options.gpu_ranks[0] if options.gpu_ranks else 0
    if index >= visible:
        raise EnvironmentFault(
            f"--gpu_ranks {ranks} asks for GPU {index} and this machine has {visible}; they count from 0."
        )
    return torch.device("cuda", index)
