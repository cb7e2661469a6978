"""Files from the Hugging Face hub, fetched only when the user names them; nothing of theirs is executed."""

from __future__ import annotations

from pathlib import Path

from uer.errors import EnvironmentFault


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
        raise EnvironmentFault(f"hf:{repo}: the repository has no file {file}.") from error
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        raise _unreachable(repo, file, error) from error


def _unreachable(repo: str, file: str, error: BaseException) -> EnvironmentFault:
    """The error for a hub that does not answer; the library's first line says why."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return EnvironmentFault(
        f"hf:{repo}: {file} could not be fetched ({reason.rstrip('.')}); "
        "check the network, or name another hub with --endpoint or HF_ENDPOINT."
    )
