"""Where a run computes: UER's flags for processes and GPUs, checked against what the machine has."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

import torch

from uer.config.training import DistributedOptions
from uer.errors import EnvironmentFault
from uer.training.place import ALONE, Place, place_of
from uer.training.workers import Workers
from uer.utils.logging import logger


def choose_workers(options: DistributedOptions, *, announce: bool = True) -> Workers:
    """The processes that train together, as flags and launcher say; `announce`: print UER's first line.

    Raises:
        EnvironmentFault: GPUs are asked for that are not there, or the other processes are not found.
    """
    place = place_of(dict(os.environ), options.master_ip)
    if place is None and options.chosen_engine != "ddp":
        return _alone(options, announce)
    if place is None:
        device = choose_device(options.gpu_ranks)
        mode = "CPU mode" if device.type == "cpu" else f"GPU {device.index}"
        if announce:
            print(f"Using {mode} for training.", flush=True)
        return Workers(device)
    from uer.training.distributed import DistributedWorkers

    if place.rank == 0 and announce:
        print("Using distributed mode for training.", flush=True)
    elif place.rank:
        logger.setLevel(logging.WARNING)
    visible = torch.cuda.device_count()
    device = torch.device("cuda", place.local_rank % visible) if visible else torch.device("cpu")
    return DistributedWorkers(place, device, options)


def _alone(options: DistributedOptions, announce: bool) -> Workers:
    """One process as a group of one, which the engines that cut tensors need."""
    from uer.training.distributed import DistributedWorkers

    device = choose_device(options.gpu_ranks)
    if announce:
        mode = "CPU mode" if device.type == "cpu" else f"GPU {device.index}"
        print(f"Using {mode} for training.", flush=True)
    return DistributedWorkers(Place(0, 1, 0, ALONE), device, options)


def check_gpus(options: DistributedOptions) -> None:
    """Hold the flags for several processes against the GPUs of this machine.

    Raises:
        EnvironmentFault: more are asked for than there are; the message says what to type instead.
    """
    visible = torch.cuda.device_count()
    needed = len(options.gpu_ranks) or (options.world_size if visible else 0)
    if options.world_size == 1 or needed <= visible:
        return
    ranks = f" --gpu_ranks {_words(options.gpu_ranks)}" if options.gpu_ranks else ""
    instead = (
        f"type --world_size {visible} --gpu_ranks {_words(range(visible))}"
        if visible
        else "leave both out to train on the CPU (--world_size alone starts as many CPU processes)"
    )
    raise EnvironmentFault(
        f"--world_size {options.world_size}{ranks} needs {needed} GPUs and this machine has "
        f"{visible or 'none'}; {instead}."
    )


def choose_device(gpu_ranks: tuple[int, ...]) -> torch.device:
    """The device of a process by itself: the GPU of `--gpu_ranks`, else the first one, else the CPU.

    A GPU becomes the one that events and streams without a name belong to: an event on another one would say
    that a copy is done before it is.

    Raises:
        EnvironmentFault: there is no such GPU.
    """
    visible = torch.cuda.device_count()
    if not visible and gpu_ranks:
        raise EnvironmentFault(
            f"--gpu_ranks {_words(gpu_ranks)} asks for a GPU and this machine has none; "
            "leave it out to train on the CPU."
        )
    if not visible:
        return torch.device("cpu")
    index = gpu_ranks[0] if gpu_ranks else 0
    if index >= visible:
        raise EnvironmentFault(
            f"--gpu_ranks {_words(gpu_ranks)} asks for GPU {index} and this machine has {visible}; "
            "they count from 0."
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _words(ranks: Iterable[int]) -> str:
    return " ".join(map(str, ranks))
