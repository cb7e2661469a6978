"""Lines and tables: what is read, and the place of every fault."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uer.data.readers import read_lines, read_tsv
from uer.errors import DataError


def write(tmp_path, data: bytes):
    path = tmp_path / "file.tsv"
    path.write_bytes(data)
    return path


def rows(path, *args):
    return list(read_tsv(path, *args))


def test_columns_by_name_in_any_order(tmp_path):
    path = write(tmp_path, "text_a\tother\tlabel\n 好 \tx\t1\r\n坏\ty\t0".encode())
    assert rows(path, ("label", "text_a")) == [
        (2, {"label": "1", "text_a": " 好 "}),
        (3, {"label": "0", "text_a": "坏"}),
    ]


def test_optional_columns_follow_the_header(tmp_path):
    path = write(tmp_path, b"label\ttext_a\ttext_b\n1\ta\t\n")
    assert rows(path, ("label",), ("text_b", "logits")) == [(2, {"label": "1", "text_b": ""})]
    path = write(tmp_path, b"label\ttext_a\n1\ta\n")
    assert rows(path, ("label",), ("text_b",)) == [(2, {"label": "1"})]


def test_an_empty_last_column_and_a_missing_final_newline_survive(tmp_path):
    path = write(tmp_path, b"text_a\tlabel\nab\t")
    assert rows(path, ("text_a", "label")) == [(2, {"text_a": "ab", "label": ""})]


def test_byte_order_mark_is_not_part_of_the_first_column(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbflabel\ttext_a\n1\ta\n")
    assert rows(path, ("label", "text_a")) == [(2, {"label": "1", "text_a": "a"})]


def test_unicode_line_separators_do_not_end_a_line(tmp_path):
    text = "a\u2028b\x0bc\x85d\x1ce\rf"
    path = write(tmp_path, f"text_a\n{text}\n".encode())
    assert rows(path, ("text_a",)) == [(2, {"text_a": text})]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"file.tsv: the file is empty; its first line must name the columns, as label<TAB>text_a\."),
        (b"label,text_a\n1,x\n", r"file.tsv:1: .* 'label,text_a': columns are separated by commas here"),
        (b"label\ttext_a\r1\tx\r", r"file.tsv:1: lines end at \\r alone \('label', 'text_a\\r1', 'x'\)"),
        (b"\xef\xbb\xbf", r"the file is empty"),
        (
            b"1\tgood\n",
            r"file.tsv:1: the first line must name the columns .* holds '1', 'good'; add the header",
        ),
        (
            b"lable\ttext_a\n",
            r"the column 'label' is missing; .* 'lable', 'text_a'\. Is it meant by 'lable'\?",
        ),
        (b"label\ttext_a\tlabel\n", r"the column 'label' is named twice"),
        (b"label\ttext_a\n1\ta\n\n2\tb\n", r"file.tsv:3: the row is empty; remove the line\."),
        (b"label\ttext_a\n1\n", r"file.tsv:2: the row has 1 of 2 columns; separate them by one TAB each\."),
        (b"label\ttext_a\n1\ta\n1\tb\xff\n", r"file.tsv:3: byte 0xff at offset 20 is not UTF-8; .*GB18030"),
        ("label\ttext_a\n".encode("utf-16"), r"file.tsv:1: byte 0xff at offset 0 is not UTF-8; .*UTF-16"),
        (b"\x1f\x8b\x08\x00", r"looks compressed"),
        (b"PK\x03\x04\x80\xff", r"zip archive"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        rows(write(tmp_path, data), ("label", "text_a"))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"no\.tsv: the file does not exist"):
        rows(tmp_path / "no.tsv", ("label",))
    with pytest.raises(DataError, match="this is a folder; give a file"):
        rows(tmp_path, ("label",))


def test_fields_beyond_the_header_are_reported(tmp_path, caplog):
    path = write(tmp_path, b"label\ttext_a\n1\ta\t\n1\tb\tc\n1\td\te\n")
    with caplog.at_level(logging.WARNING, logger="uer"):
        assert len(rows(path, ("label", "text_a"))) == 3
    assert "2 rows hold more fields than the header names (first at line 3)" in caplog.text


LINE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r"))


@given(st.lists(LINE, min_size=1), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lines_come_back_as_written(tmp_path_factory, lines, end, final):
    path = tmp_path_factory.mktemp("lines") / "file.txt"
    text = end.join(lines) + (end if final else "")
    if text.startswith("\ufeff"):
        text = "x" + text
        lines[0] = "x" + lines[0]
    path.write_bytes(text.encode())
    if not final and not lines[-1]:
        lines = lines[:-1]
    assert list(read_lines(path)) == list(enumerate(lines, 1))
