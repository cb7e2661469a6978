"""What the tests of checkpoints share: a hub of one model, whose folder is `model` in the test's own."""

from __future__ import annotations

import pytest

from tests.checkpoints.folders import HUB_FOLDER
from tests.hub import serve_hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    def content_of(path):
        file = tmp_path / "model" / path.removeprefix(HUB_FOLDER)
        return file.read_bytes() if path.startswith(HUB_FOLDER) and file.is_file() else None

    cache = tmp_path / "cache"
    with serve_hub(monkeypatch, cache, content_of, lambda path: path.startswith(HUB_FOLDER)) as served:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.endpoint)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            served.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield served
