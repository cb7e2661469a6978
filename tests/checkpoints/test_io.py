"""Files of weights: formats, damage, foreign files, pickles that would run code."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from uer.checkpoints.companion import write_state
from uer.checkpoints.io import is_torch_name, read_state
from uer.errors import CheckpointError
from uer.utils.files import repository_root


def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    word = torch.randn(7, 4, generator=generator)
    return {"embedding.word.embedding.weight": word, "bias": torch.arange(3.0), "out.weight": word}


@pytest.mark.parametrize(
    ("name", "torch_format"),
    [
        ("model.bin", True),
        ("model.bin-5000", True),
        ("model-fold_3.bin", True),
        ("model.pt", True),
        ("model.safetensors", False),
        ("model.safetensors-100", False),
        ("model", False),
        ("model-100", False),
    ],
)
def test_name_decides_the_format_of_what_is_written(tmp_path, name, torch_format):
    assert is_torch_name(name) == torch_format
    write_state(tmp_path / name, state())
    raw = (tmp_path / name).read_bytes()
    assert raw.startswith(b"PK") == torch_format
    back = read_state(tmp_path / name)
    assert list(back) == list(state()) or not torch_format
    assert all(torch.equal(back[key], value) for key, value in state().items())
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_other_programs_read_what_is_written(tmp_path):
    write_state(tmp_path / "a.bin", state())
    write_state(tmp_path / "a.safetensors", state())
    plain = torch.load(tmp_path / "a.bin", weights_only=True)
    assert type(plain) is dict
    assert plain["out.weight"].data_ptr() == plain["embedding.word.embedding.weight"].data_ptr()
    assert torch.equal(load_file(tmp_path / "a.safetensors")["out.weight"], plain["out.weight"])


def test_tied_tensors_take_no_room_twice_in_a_torch_file(tmp_path):
    big = torch.zeros(1000, 100)
    write_state(tmp_path / "tied.bin", {"a": big, "b": big})
    write_state(tmp_path / "view.bin", {"a": big[:10]})
    assert (tmp_path / "tied.bin").stat().st_size < 1.1 * 400_000
    assert (tmp_path / "view.bin").stat().st_size < 10_000


def test_parameters_and_strided_tensors_are_written_plain(tmp_path):
    linear = torch.nn.Linear(3, 5)
    write_state(
        tmp_path / "a", {"w": linear.weight.t(), "empty": torch.empty(0, 2), "half": torch.ones(2).half()}
    )
    back = read_state(tmp_path / "a")
    assert torch.equal(back["w"], linear.weight.detach().t()) and back["half"].dtype == torch.float16
    assert back["empty"].shape == (0, 2)


def test_files_of_torch_before_1_6_are_read(tmp_path):
    torch.save(state(), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert torch.equal(read_state(tmp_path / "old.bin")["bias"], torch.arange(3.0))


def test_parameters_in_a_file_become_tensors(tmp_path):
    torch.save({"w": torch.nn.Parameter(torch.ones(2))}, tmp_path / "p.bin")
    back = read_state(tmp_path / "p.bin")["w"]
    assert type(back) is torch.Tensor and not back.requires_grad


class TestFolders:
    def test_safetensors_are_preferred(self, tmp_path):
        torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
        save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
        assert read_state(tmp_path)["a"] == 1

    @pytest.mark.parametrize("suffix", ["safetensors", "bin"])
    def test_shards(self, tmp_path, suffix):
        stem = "model" if suffix == "safetensors" else "pytorch_model"
        table = {}
        for number, name in enumerate(("a", "b"), 1):
            file = f"{stem}-0000{number}-of-00002.{suffix}"
            write_state(tmp_path / file, {name: torch.full((2,), number)})
            table[name] = file
        index = tmp_path / f"{stem}.{suffix}.index.json"
        index.write_text(json.dumps({"weight_map": table}))
        assert {name: int(value[0]) for name, value in read_state(tmp_path).items()} == {"a": 1, "b": 2}
        assert read_state(index).keys() == {"a", "b"}
        (tmp_path / table["b"]).unlink()
        with pytest.raises(CheckpointError, match=r"does not exist, but .* names it .2 shards"):
            read_state(tmp_path)

    def test_a_shard_outside_the_folder_is_refused(self, tmp_path):
        (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../secret.bin"}}')
        with pytest.raises(CheckpointError, match=r"names the shard '\.\./secret\.bin'"):
            read_state(tmp_path)

    def test_a_promise_not_kept(self, tmp_path):
        save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
        (tmp_path / "model.safetensors.index.json").write_text(
            '{"weight_map": {"a": "x.safetensors", "b": "x.safetensors"}}'
        )
        with pytest.raises(CheckpointError, match=r"promises b, but x\.safetensors does not hold it"):
            read_state(tmp_path)

    @pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}', "{}"])
    def test_damaged_index(self, tmp_path, text):
        (tmp_path / "model.safetensors.index.json").write_text(text)
        with pytest.raises(CheckpointError, match="is damaged: expected JSON with a 'weight_map'"):
            read_state(tmp_path)

    def test_no_weights(self, tmp_path):
        (tmp_path / "tf_model.h5").write_bytes(b"")
        with pytest.raises(CheckpointError, match=r"is a folder without weights: .* found tf_model\.h5"):
            read_state(tmp_path)


def foreign_files() -> dict[str, tuple[bytes, str]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("word/document.xml", "<x/>")
    nested, listed, optimiser = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"model": state(), "epoch": 3}, nested)
    torch.save([torch.ones(1)], listed)
    torch.save(torch.nn.Linear(2, 2), optimiser)
    return {
        "empty": (b"", "is empty"),
        "text": (b"hello, this is text\n", "is no model file"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        "keras": (b"\x89HDF\r\n\x1a\n" + bytes(50), "Keras/TensorFlow"),
        "html": (b"<!DOCTYPE html><html>not found</html>", "web page"),
        "gzip": (b"\x1f\x8b\x08\x00" + bytes(50), "gzip"),
        "docx": (archive.getvalue(), "zip archive, but not of torch.save"),
        "checkpoint of a trainer": (nested.getvalue(), "'model' is a dict .entries: model, epoch"),
        "list": (listed.getvalue(), "holds a list"),
        "whole module": (optimiser.getvalue(), r"holds pickled Python objects .*Linear.* none of it was run"),
        "pickle": (pickle.dumps({"a": 1}), "holds pickled Python objects besides tensors"),
    }


@pytest.mark.parametrize("name", foreign_files())
def test_foreign_files(tmp_path, name):
    content, message = foreign_files()[name]
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_state(tmp_path / "x.bin")
    assert "\n" not in str(error.value) and str(tmp_path / "x.bin") in str(error.value)


@pytest.mark.parametrize("name", ["a.bin", "a.safetensors"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.999])
def test_truncated_files(tmp_path, name, kept):
    write_state(tmp_path / name, {str(n): torch.randn(50, 50) for n in range(5)})
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(CheckpointError, match="truncated") as error:
        read_state(tmp_path / name)
    assert "\n" not in str(error.value)


def test_missing_file_names_the_flag(tmp_path):
    with pytest.raises(CheckpointError, match=r"does not exist; .* with --load_model_path"):
        read_state(tmp_path / "nothing.bin", "--load_model_path")


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "named safetensors"])
def test_a_malicious_pickle_never_runs(tmp_path, kind):
    mark, file = tmp_path / "ran", tmp_path / ("x.safetensors" if kind.startswith("named") else "x.bin")
    content = {"a": torch.ones(1), "b": Bomb(mark)}
    if kind == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind != "legacy")
    with pytest.raises(CheckpointError):
        read_state(file)
    assert not mark.exists()
    file = file.rename(tmp_path / "bomb.bin")
    torch.load(file, weights_only=False) if kind != "pickle" else pickle.loads(file.read_bytes())
    assert mark.exists(), "the bomb of this test is a dud"


@pytest.mark.parametrize("name", ["a.bin", "a.safetensors"])
def test_a_full_disk_leaves_the_old_file(tmp_path, name):
    """A limit on file sizes stands for the full disk: writes beyond it fail in the same way."""
    write_state(tmp_path / name, {"a": torch.ones(2)})
    code = (
        "import resource, signal, sys, torch\n"
        "from uer.checkpoints import write_state\n"
        "from uer.errors import EnvironmentFault\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    write_state(sys.argv[1], {'a': torch.ones(300, 300)})\n"
        "except EnvironmentFault as error:\n"
        "    print('fault:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / name], capture_output=True, text=True, cwd=repository_root()
    )
    assert done.stdout.startswith(f"fault: {tmp_path / name}: could not be written"), done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert torch.equal(read_state(tmp_path / name)["a"], torch.ones(2))
