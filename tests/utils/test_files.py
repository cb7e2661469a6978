"""Files that are whole or absent, and what is no file at all."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from uer.errors import EnvironmentFault
from uer.utils.files import atomic_write, repository_root


def test_a_file_is_replaced_whole_or_not_at_all():
    Path("a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write("a.txt") as file:
        file.write("new")
        raise ZeroDivisionError
    assert Path("a.txt").read_text() == "old" and os.listdir() == ["a.txt"]
    with atomic_write("a.txt") as file:
        file.write("new\n")
    assert Path("a.txt").read_bytes() == b"new\n" and os.listdir() == ["a.txt"]


def test_a_reader_of_the_screen_who_leaves_is_no_fault_of_the_file():
    with pytest.raises(BrokenPipeError), atomic_write("f.txt") as file:
        file.write("x")
        raise BrokenPipeError
    assert not Path("f.txt").exists()


def test_a_pipe_is_written_to_and_stays():
    os.mkfifo("pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()))
    reader.start()
    with atomic_write("pipe") as file:
        file.write("书")
    reader.join(10)
    assert read == ["书"] and stat.S_ISFIFO(os.stat("pipe").st_mode)


def test_a_device_stays_one_and_says_that_it_is_full():
    with pytest.raises(EnvironmentFault, match="/dev/full: the disk is full"):
        with atomic_write("/dev/full") as file:
            file.write("x")
    with atomic_write("/dev/null", "wb") as file:
        file.write(b"x")
    assert all(stat.S_ISCHR(os.stat(name).st_mode) for name in ("/dev/full", "/dev/null"))


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize("piped", [True, False])
def test_standard_output_by_its_name(name, piped):
    """Whether it is a pipe or a file."""
    code = f"from uer.utils.files import atomic_write\nwith atomic_write({name!r}) as f: f.write('here')"
    with open("out.txt", "w") as out:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=repository_root(),
            stdout=subprocess.PIPE if piped else out,
            text=True,
            check=True,
        )
    assert (done.stdout if piped else Path("out.txt").read_text()) == "here"
    assert os.path.islink("/dev/stdout") and os.listdir() == ["out.txt"]
