"""Small tokenizers and datasets made in the test's own folder."""

import pytest
from hypothesis import settings

from uer.config.preprocess import InstanceOptions, MaskingOptions, PreprocessOptions
from uer.data.build import build_dataset
from uer.data.store import Store
from uer.tokenizers import build_tokenizer

# The machine may be busy: no deadline for single examples.
settings.register_profile("uer", deadline=None)
settings.load_profile("uer")

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def numbers(tmp_path_factory):
    """A tokenizer of words that are numbers: the word n has the id n + 5; 20 sentinels from id 5005 on."""
    path = tmp_path_factory.mktemp("vocab") / "numbers.txt"
    sentinels = [f"<extra_id_{n}>" for n in range(20)]
    path.write_text("\n".join([*SPECIALS, *map(str, range(5000)), *sentinels]) + "\n")
    return build_tokenizer("space", vocab_path=path)


@pytest.fixture
def make(tmp_path, numbers):
    """make(corpus, processor, …) → the dataset; option names are those of the flags."""

    def make(
        corpus,
        processor,
        tokenizer=numbers,
        target_tokenizer=None,
        name="dataset.pt",
        corpus_name="corpus.txt",
        **flags,
    ):
        path = tmp_path / corpus_name
        path.write_bytes(corpus if isinstance(corpus, bytes) else corpus.encode())
        flags["data_processor"] = processor
        files = {k: v for k, v in flags.items() if k in PreprocessOptions.names()}
        files = PreprocessOptions(corpus_path=(str(path),), dataset_path=str(tmp_path / name), **files)
        options, masking = InstanceOptions.pick(flags), MaskingOptions.pick(flags)
        build_dataset(files, options, masking, tokenizer, target_tokenizer)
        return Store(tmp_path / name)

    return make
