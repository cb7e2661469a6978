"""Weights and what describes them: saved together, never apart, not even by kill -9."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from uer import __version__
from uer.checkpoints import read_companion, read_state, remove_checkpoint, write_state
from uer.checkpoints.companion import companion_folder
from uer.config.model import ModelConfig
from uer.errors import CheckpointError

CONFIG = ModelConfig(layers_num=2, hidden_size=8, emb_size=8, heads_num=2, sinusoid="2021", labels_num=3)


class Files:
    """Stands for a tokenizer: it can save itself."""

    def save(self, folder: Path) -> None:
        (folder / "vocab.txt").write_text("[PAD]\n中\n", encoding="utf-8")


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((4,), float(value))}


@pytest.mark.parametrize("name", ["m.bin", "m.bin-20", "m.safetensors"])
def test_what_is_said_comes_back(tmp_path, name):
    path = tmp_path / "deep" / name
    write_state(
        path, weights(1), config=CONFIG, tokenizer=Files(), labels={"好": 0}, extra={"seq_length": 64}
    )
    companion = read_companion(path)
    assert companion.config == CONFIG
    assert companion.labels == {"好": 0} and companion.extra == {"seq_length": 64}
    assert (companion.tokenizer / "vocab.txt").read_text(encoding="utf-8") == "[PAD]\n中\n"
    assert companion.tgt_tokenizer is None
    record = json.loads((companion.folder / "config.json").read_text(encoding="utf-8"))
    assert record["version"] == __version__ and record["weights"]["file"] == name
    assert sorted(entry.name for entry in path.parent.iterdir()) == [name, f"{name}.meta"]


def test_a_tokenizer_folder_is_copied(tmp_path):
    write_state(tmp_path / "a", weights(1), config=CONFIG, tokenizer=Files())
    first = read_companion(tmp_path / "a")
    write_state(tmp_path / "b", weights(2), config=CONFIG, tokenizer=first.tokenizer, tgt_tokenizer=Files())
    second = read_companion(tmp_path / "b")
    assert (second.tokenizer / "vocab.txt").read_bytes() == (first.tokenizer / "vocab.txt").read_bytes()
    assert (second.tgt_tokenizer / "vocab.txt").is_file()


def test_a_checkpoint_that_was_renamed_by_itself(tmp_path):
    """`mv m.bin-20 m.bin` leaves the companion behind; it is known by the checksum."""
    for step in (10, 20):
        write_state(tmp_path / f"m.bin-{step}", weights(step), config=CONFIG, extra={"seq_length": step})
    os.replace(tmp_path / "m.bin-20", tmp_path / "m.bin")
    assert read_companion(tmp_path / "m.bin").extra == {"seq_length": 20}
    torch.save(weights(3), tmp_path / "m.bin")
    assert read_companion(tmp_path / "m.bin") is None
    write_state(tmp_path / "m.bin-x", weights(3), config=CONFIG)
    os.replace(tmp_path / "m.bin-x", tmp_path / "m.bin")
    assert read_companion(tmp_path / "m.bin") is None, "no number of a step"


def test_none_without_a_companion(tmp_path):
    write_state(tmp_path / "a", weights(1))
    assert read_companion(tmp_path / "a") is None
    assert read_companion(tmp_path / "absent") is None
    write_state(tmp_path / "a", weights(1), config=CONFIG)
    write_state(tmp_path / "a", weights(2))
    assert read_companion(tmp_path / "a") is None, "the description of the weights before must not stay"


def test_both_can_be_moved(tmp_path):
    write_state(tmp_path / "a.bin", weights(1), config=CONFIG)
    os.rename(tmp_path / "a.bin", tmp_path / "b.bin")
    os.rename(tmp_path / "a.bin.meta", tmp_path / "b.bin.meta")
    assert read_companion(tmp_path / "b.bin").config == CONFIG


def test_other_weights_beside_a_companion(tmp_path):
    write_state(tmp_path / "a", weights(1), config=CONFIG)
    assert read_companion(tmp_path / "a") is not None
    write_state(tmp_path / "b", weights(2))
    shutil.copyfile(tmp_path / "b", tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"a\.meta describes other weights than .* checksums differ"):
        read_companion(tmp_path / "a")


def test_a_flipped_bit_is_seen(tmp_path):
    write_state(tmp_path / "a", weights(1), config=CONFIG)
    content = bytearray((tmp_path / "a").read_bytes())
    content[-1] ^= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match="checksums differ"):
        read_companion(tmp_path / "a")


def damage(folder: Path, kind: str) -> None:
    config = folder / "config.json"
    record = json.loads(config.read_text(encoding="utf-8"))
    if kind == "absent":
        config.unlink()
    elif kind == "json":
        config.write_text("{")
    elif kind == "newer":
        config.write_text(json.dumps({**record, "format": 99, "version": "9.9"}))
    elif kind == "key":
        config.write_text(json.dumps({**record, "model": {"hidden_sise": 3}}))
    elif kind == "labels":
        (folder / "labels.json").write_text("nonsense")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", r"config\.json is missing or damaged"),
        ("json", r"config\.json is missing or damaged"),
        ("newer", "has format 99 .written by version 9.9.*update the toolkit"),
        (
            "key",
            "does not describe a model that this version .* knows.*hidden_sise.*Did you mean 'hidden_size'",
        ),
        ("labels", r"labels\.json is missing or damaged"),
    ],
)
def test_damaged_companions(tmp_path, kind, message):
    write_state(tmp_path / "a", weights(1), config=CONFIG, labels={"x": 0})
    damage(companion_folder(tmp_path / "a"), kind)
    with pytest.raises(CheckpointError, match=message):
        read_companion(tmp_path / "a")


def test_remove(tmp_path):
    write_state(tmp_path / "a", weights(1), config=CONFIG)
    remove_checkpoint(tmp_path / "a")
    remove_checkpoint(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


EVENTS = ("replace", "rename", "fsync", "mkdir", "rmdir", "unlink")


def write_and_die(path: Path, moment: int, config: ModelConfig | None) -> bool:
    """Write in a child process that is gone, without any clean-up, at its n-th call into the file system."""
    child = os.fork()
    if child == 0:
        left = moment

        def dying(call):
            def wrapped(*args, **kwargs):
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return call(*args, **kwargs)

            return wrapped

        for event in EVENTS:
            setattr(os, event, dying(getattr(os, event)))
        write_state(path, weights(2), config=config, tokenizer=Files(), extra={"value": 2})
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("existing", [True, False])
def test_killed_at_any_moment_both_agree(tmp_path, monkeypatch, existing, described):
    """The weights are whole, old or new; a companion that is found speaks of exactly these weights."""
    monkeypatch.setattr(os, "getpid", lambda: 7)  # as in a container: the next process has the same number
    died = seen_new = 0
    for moment in range(200):
        path = tmp_path / str(moment) / "m.bin"
        path.parent.mkdir()
        if existing:
            write_state(path, weights(1), config=CONFIG, extra={"value": 1})
        killed = write_and_die(path, moment, CONFIG if described else None)
        companion = read_companion(path)
        if path.exists():
            value = int(read_state(path)["a"][0])
            seen_new += value == 2
            if described:
                assert companion.extra == {"value": value}
            else:
                assert companion is None or companion.extra == {"value": value} == {"value": 1}
        else:
            assert not existing and companion is None
        write_state(path, weights(3), config=CONFIG, extra={"value": 3})  # the rubbish is in nobody's way
        assert read_companion(path).extra == {"value": 3}
        if not killed:
            break
        died += 1
    assert died > 5 and seen_new > 1
