"""A dataset that does not fit the run is refused, and the message says how to make the right one."""

import pytest

from uer.data.pretrain_data import check_dataset
from uer.data.store import Store
from uer.errors import DataError
from uer.tokenizers import build_tokenizer


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            {"data_processor": "bert"},
            r"dataset\.pt: the dataset was made with --data_processor mlm, and the run asks for bert; make "
            r"the right dataset with preprocess\.py --data_processor bert, or train on this one by "
            r"--data_processor mlm --target mlm\.",
        ),
        ({"targets": ("mlm", "sp")}, "has labels for --target mlm, not for mlm sp"),
        ({"vocab_size": 10}, r"made with a vocabulary of 5,025 tokens, and this one has 10"),
        (
            {"fingerprint": "f" * 64},
            r"made with another tokenizer \(space, fingerprint .*, not ffffffffffff\)",
        ),
        (
            {"max_seq_length": 32},
            r"made with --seq_length 64, and the model has 32 positions .*--seq_length 32\.",
        ),
    ],
)
def test_what_does_not_fit(make, numbers, wanted, message):
    store = make("1 2 3", "mlm", seq_length=64)
    check_dataset(
        store,
        data_processor="mlm",
        targets=("mlm",),
        fingerprint=numbers.fingerprint(),
        target_fingerprint="anything, for there is no target side",
        vocab_size=5025,
        max_seq_length=64,
    )
    with pytest.raises(DataError, match=message):
        check_dataset(store, **wanted)


def test_targets_longer_than_the_model(make):
    store = make("1\t2", "mt", seq_length=16, tgt_seq_length=64)
    check_dataset(store, max_seq_length=64)
    with pytest.raises(
        DataError, match=r"made with --tgt_seq_length 64, .* 32 positions .*--tgt_seq_length 32\."
    ):
        check_dataset(store, max_seq_length=32)
    short = make("1 2 3", "mlm", seq_length=16, tgt_seq_length=64, name="short.pt")
    check_dataset(short, max_seq_length=32)  # it has no targets


def test_target_tokenizer(make, numbers, tmp_path):
    (tmp_path / "target.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nx\n")
    theirs = build_tokenizer("space", vocab_path=tmp_path / "target.txt")
    alone = make("1\t2", "mt")
    check_dataset(alone, target_fingerprint=numbers.fingerprint())
    two = make("1\tx", "mt", target_tokenizer=theirs, name="two.pt")
    check_dataset(two, fingerprint=numbers.fingerprint(), target_fingerprint=theirs.fingerprint())
    for store, fingerprint in ((alone, theirs), (two, numbers)):
        with pytest.raises(DataError, match=r"made with another target tokenizer .* --tgt_vocab_path"):
            check_dataset(Store(store.path), target_fingerprint=fingerprint.fingerprint())
