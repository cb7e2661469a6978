"""Which of several processes this is, as the launcher's environment says. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from uer.errors import ConfigError

ALONE = "alone"
"""the meeting place of a group of one"""


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is, and where they meet."""

    rank: int
    size: int
    local_rank: int
    url: str


def meeting_point(url: str) -> tuple[str, int]:
    """Host and port of `--master_ip`.

    Raises:
        ConfigError: it is not like tcp://host:port.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = None, None, None
    if parts is None or parts.scheme != "tcp" or host is None or port is None:
        raise ConfigError(f"--master_ip is '{url}'; it must be like tcp://localhost:12345.")
    return host, port


def place_of(environment: dict[str, str], master_ip: str) -> Place | None:
    """What the launcher (ours, torchrun, SLURM) says of this process; None when it was started alone.

    Raises:
        ConfigError: `--master_ip` is needed and is no address.
    """
    env = environment
    if int(env.get("WORLD_SIZE", 1)) > 1 and "RANK" in env:
        url = f"tcp://{env.get('MASTER_ADDR', 'localhost')}:{env.get('MASTER_PORT', '12345')}"
        return Place(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", 0)), url)
    # srun starts the processes; sbatch alone sets SLURM_NTASKS for one process that is not one of several
    if int(env.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in env and "SLURM_STEP_ID" in env:
        host, port = meeting_point(master_ip)
        local = int(env.get("SLURM_LOCALID", 0))
        return Place(int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS"]), local, f"tcp://{host}:{port}")
    return None


def is_first(environment: dict[str, str]) -> bool:
    """Whether this process is alone, or the first that a launcher started: the one that does what needs only
    one.
    """
    place = place_of(environment, "tcp://localhost:12345")
    return place is None or place.rank == 0


def on_this_machine(environment: dict[str, str], size: int) -> int:
    """How many of the `size` processes share this machine's memory, as the launcher says; else all."""
    return int(environment.get("LOCAL_WORLD_SIZE", size))
