"""The dataset file: what is written comes back, files are joined, everything else is refused in one line."""

import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uer.data.store import MAGIC, Column, Store, merge_stores, token_dtype, write_arrays, write_store
from uer.errors import DataError, EnvironmentFault

COLUMNS = {
    "start": Column("<u8", "tokens"),
    "length": Column("<u2"),
    "tokens": Column("<u2"),
    "label": Column("<i4"),
}


def arrays(texts, labels):
    lengths = np.array([len(text) for text in texts], np.int64)
    return {
        "start": np.cumsum(lengths) - lengths,
        "length": lengths,
        "tokens": np.array([token for text in texts for token in text]),
        "label": np.array(labels),
    }


def texts_of(store):
    tokens = store["tokens"]
    return [tokens[a : a + n].tolist() for a, n in zip(store["start"].tolist(), store["length"].tolist())]


TEXTS = st.lists(st.lists(st.integers(0, 65535), max_size=5), max_size=6)


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_parts_come_back_joined(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("store")
    paths = []
    for number, texts in enumerate(parts):
        paths.append(folder / f"{number}.part")
        header = {"objective": "mlm", "instances": len(texts), "note": "好"}
        write_arrays(paths[-1], header, COLUMNS, arrays(texts, range(len(texts))))
        single = Store(paths[-1])
        assert texts_of(single) == texts and single["label"].tolist() == list(range(len(texts)))
        assert single.header["note"] == "好" and single.columns == COLUMNS and len(single) == len(texts)
        single.verify()
    whole = [text for texts in parts for text in texts]
    merge_stores(paths, folder / "all", {"objective": "mlm", "instances": len(whole)})
    merged = Store(folder / "all")
    assert texts_of(merged) == whole and merged.columns == COLUMNS
    assert all(merged[name].ctypes.data % 2 == 0 for name in COLUMNS)
    merged.verify()
    assert merged.objective == "mlm" and "tokens" in merged and "nothing" not in merged


def test_tokens_take_two_bytes_where_they_can():
    assert token_dtype(65536) == "<u2" and token_dtype(65537) == "<u4"


def test_written_piece_by_piece(tmp_path):
    columns = {"a": Column("<u2"), "b": Column("<f4")}
    pieces = {"a": [np.arange(3), np.arange(4)], "b": [np.ones(1)]}
    write_store(tmp_path / "x", {"instances": 1}, columns, {"a": 7, "b": 1}, lambda name: iter(pieces[name]))
    store = Store(tmp_path / "x")
    assert store["a"].tolist() == [0, 1, 2, 0, 1, 2, 3] and store["b"].tolist() == [1.0]
    store.verify()
    with pytest.raises(ValueError, match="read-only"):
        store["a"][0] = 1


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "dataset.pt"
    header = {"objective": "mlm", "instances": 2}
    write_arrays(path, header, COLUMNS, arrays([[1, 2, 3], [4]], [0, 1]))
    return path


def test_header_can_be_read_without_us(dataset):
    data = dataset.read_bytes()
    magic, version, _, length, size = struct.unpack("<8sIIQQ", data[:32])
    assert (magic, version, size) == (MAGIC, 1, len(data))
    assert json.loads(data[32 : 32 + length])["arrays"]["tokens"]["count"] == 4


def test_cut_off_anywhere(dataset):
    data = dataset.read_bytes()
    for size in range(len(data)):
        dataset.write_bytes(data[:size])
        with pytest.raises(DataError, match=r"dataset\.pt: (the file is empty|the file has|this is not)"):
            Store(dataset)
    dataset.write_bytes(data + b"x")
    with pytest.raises(DataError, match=r"has \d+ bytes of \d+: it was cut off"):
        Store(dataset)


def test_damage_is_found(dataset):
    data = bytearray(dataset.read_bytes())
    data[60] ^= 1
    dataset.write_bytes(data)
    with pytest.raises(DataError, match="the header is damaged"):
        Store(dataset)
    data[60] ^= 1
    data[-1] ^= 1
    dataset.write_bytes(data)
    with pytest.raises(DataError, match="the array 'label' is damaged"):
        Store(dataset).verify()


def test_newer_format(dataset):
    data = bytearray(dataset.read_bytes())
    data[8] = 2
    dataset.write_bytes(data)
    with pytest.raises(DataError, match="has format 2 and this program reads up to 1; update the program"):
        Store(dataset)


class Bomb:
    """A pickle that would write a file when loaded."""

    def __reduce__(self):
        return (open, ("exploded", "w"))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickled_dataset_is_recognised_and_never_opened(tmp_path, protocol):
    path = tmp_path / "dataset.pt"
    path.write_bytes(pickle.dumps(Bomb(), protocol) + bytes(100))
    with pytest.raises(DataError, match=r"pickled dataset of UER-py.*preprocess\.py"):
        Store(path)
    assert not (tmp_path / "exploded").exists()


def test_foreign_files(tmp_path):
    path = tmp_path / "dataset.pt"
    path.write_text("a corpus\n" * 20)
    with pytest.raises(DataError, match=r"not a dataset made by preprocess\.py"):
        Store(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty; make a new one with preprocess"):
        Store(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x" * 50)
    with pytest.raises(DataError, match="a zip archive or a torch file"):
        Store(path)
    with pytest.raises(DataError, match="does not exist"):
        Store(tmp_path / "none.pt")


def test_a_failed_write_leaves_the_old_file(dataset):
    before = dataset.read_bytes()

    def full(name):
        raise OSError(28, "No space left on device")

    with pytest.raises(EnvironmentFault, match="the disk is full"):
        write_store(dataset, {"instances": 0}, {"a": Column("<u2")}, {"a": 1}, full)
    assert dataset.read_bytes() == before and len(list(dataset.parent.iterdir())) == 1
