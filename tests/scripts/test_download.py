"""Public files are fetched by name; a local server stands in for the hub."""

import json

import pytest

from tests.hub import serve_hub
from uer.errors import ConfigError, EnvironmentFault

FILES = {
    "/google-bert/bert-base-chinese/resolve/main/vocab.txt": "[PAD]\n[UNK]\n甲\n".encode(),
    "/FacebookAI/roberta-base/resolve/main/vocab.json": json.dumps({"b": 1, "a": 0, "c": 2}).encode(),
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serve_hub(
        monkeypatch, tmp_path / "cache", FILES.get, lambda path: "bert-base-chinese" in path
    ) as served:
        yield served.endpoint


@pytest.fixture
def main(load_script):
    return load_script("scripts/download.py").main


def test_a_file_is_fetched_as_it_is(hub, main, tmp_path):
    main(["google_zh_vocab.txt", "--endpoint", hub, "--output_dir", str(tmp_path)])
    assert (tmp_path / "google_zh_vocab.txt").read_text(encoding="utf-8") == "[PAD]\n[UNK]\n甲\n"


def test_a_json_vocabulary_becomes_one_token_a_line(hub, main, tmp_path):
    main(["huggingface_gpt2_vocab.txt", "--endpoint", hub, "--output_dir", str(tmp_path)])
    assert (tmp_path / "huggingface_gpt2_vocab.txt").read_text() == "a\nb\nc\n"


def test_a_file_that_is_there_stays_unless_forced(hub, main, tmp_path):
    target = tmp_path / "google_zh_vocab.txt"
    target.write_text("mine\n")
    main(["google_zh_vocab.txt", "--endpoint", hub, "--output_dir", str(tmp_path)])
    assert target.read_text() == "mine\n"
    main(["google_zh_vocab.txt", "--endpoint", hub, "--output_dir", str(tmp_path), "--force"])
    assert target.read_text(encoding="utf-8").startswith("[PAD]")


def test_an_unknown_name_is_suggested(main):
    with pytest.raises(ConfigError, match=r"Did you mean 'google_zh_vocab\.txt'\?"):
        main(["google_zh_vocb.txt"])


def test_a_file_on_no_hub_is_said(main):
    with pytest.raises(ConfigError, match="is on no hub known to us"):
        main(["cluecorpussmall_spm.model"])


def test_a_missing_repository_is_one_line(hub, main, tmp_path):
    with pytest.raises(EnvironmentFault, match="the hub has no such repository"):
        main(["huggingface_gpt2_merges.txt", "--endpoint", hub, "--output_dir", str(tmp_path)])
    assert list(tmp_path.glob("*merges*")) == []


def test_a_missing_file_is_one_line(hub, main, tmp_path, monkeypatch):
    monkeypatch.delitem(FILES, "/google-bert/bert-base-chinese/resolve/main/vocab.txt")
    with pytest.raises(EnvironmentFault, match=r"the repository has no file vocab\.txt"):
        main(["google_zh_vocab.txt", "--endpoint", hub, "--output_dir", str(tmp_path)])


def test_an_unreachable_hub_is_one_line(main, tmp_path, monkeypatch):
    # The library retries, patiently.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(EnvironmentFault, match="could not be fetched") as caught:
        main(["google_zh_vocab.txt", "--endpoint", "http://127.0.0.1:9", "--output_dir", str(tmp_path)])
    assert "\n" not in str(caught.value)
