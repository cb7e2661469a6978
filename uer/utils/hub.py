"""Files from the Hugging Face hub, fetched only when the user names them; nothing of theirs is executed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from uer.errors import EnvironmentFault


class MissingFile(EnvironmentFault):
    """The repository has no file of that name."""


def fetch_file(repo: str, file: str, *, endpoint: str | None = None, revision: str | None = None) -> Path:
    """The local copy of one file of a hub repository, downloaded into the hub's own cache if needed.

    Raises:
        EnvironmentFault: the hub cannot be reached, or has no such repository or file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return Path(hf_hub_download(repo, file, endpoint=endpoint, revision=revision))
    except RepositoryNotFoundError as error:
        raise EnvironmentFault(f"hf:{repo}: the hub has no such repository, or it is not public.") from error
    except EntryNotFoundError as error:
        if getattr(error, "response", None) is None:
            raise _unreachable(repo, file, error) from error
        raise MissingFile(f"hf:{repo}: the repository has no file {file}.") from error
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        raise _unreachable(repo, file, error) from error


def fetch_folder(
    repo: str,
    required: str,
    one_of: Sequence[Sequence[str]],
    optional: Sequence[str],
    *,
    endpoint: str | None = None,
) -> Path:
    """The local folder of a hub repository with some of its files; nothing else of it is fetched.

    Args:
        required: a file that it must have.
        one_of: of each of these lists, the first file it has, and for an index (`….index.json`) the files in
            it.
        optional: files to take along if it has them.

    Raises:
        EnvironmentFault: the hub cannot be reached, or has no such repository or file.
    """
    folder = fetch_file(repo, required, endpoint=endpoint).parent
    for names in one_of:
        found = next((name for name in names if fetch_if_there(repo, name, endpoint)), None)
        if found is None:
            raise EnvironmentFault(f"hf:{repo}: the repository has none of the files {', '.join(names)}.")
        if found.endswith(".index.json"):
            table = json.loads((folder / found).read_text(encoding="utf-8"))["weight_map"]
            for shard in sorted(set(table.values())):
                fetch_file(repo, shard, endpoint=endpoint)
    for name in optional:
        fetch_if_there(repo, name, endpoint)
    return folder


def fetch_if_there(repo: str, file: str, endpoint: str | None = None) -> bool:
    """Fetch a file; False when the repository has none of that name."""
    try:
        fetch_file(repo, file, endpoint=endpoint)
    except MissingFile:
        return False
    return True


def _unreachable(repo: str, file: str, error: BaseException) -> EnvironmentFault:
    """The error for a hub that does not answer; the library's first line says why."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return EnvironmentFault(
        f"hf:{repo}: {file} could not be fetched ({reason.rstrip('.')}); "
        "check the network, or name another hub with HF_ENDPOINT."
    )
