from __future__ import annotations

import os
import select
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from singer_martech.runtime import private_files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("untouched")
    return file


def test_a_file_is_written_and_replaced_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for text in ("one", "two"):
        private_files.replace(file, text)
        assert file.read_text() == text
        assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_links_are_neither_followed_nor_replaced(tmp_path: Path, secret: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic link"):
        private_files.replace(link, "text")
    with pytest.raises(FileExistsError):
        private_files.create(link)
    assert secret.read_text() == "untouched"
    assert link.is_symlink()


def test_a_dangling_link_creates_no_file(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nothing")
    with pytest.raises(OSError, match="symbolic link"):
        private_files.replace(link, "text")
    with pytest.raises(FileExistsError):
        private_files.create(link)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_replaced(secret: Path) -> None:
    os.chown(secret, 12345, -1)
    with pytest.raises(OSError, match="another user"):
        private_files.replace(secret, "text")
    assert secret.read_text() == "untouched"


def test_a_fifo_is_written_to_and_stays(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    came: list[bytes] = []
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    content = "x" * 300_000

    def read() -> None:
        writer = select.poll()
        writer.register(descriptor, select.POLLIN)
        writer.poll(20_000)
        with os.fdopen(descriptor, "rb") as file:
            came.append(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    private_files.replace(fifo, content)
    reader.join(20)
    assert came == [content.encode()]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_folder_that_is_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="/link' is a symbolic link to nothing"):
        private_files.make_folder(tmp_path / "link" / "rejects")
    with pytest.raises(NotADirectoryError, match="/file' is not a folder"):
        private_files.make_folder(tmp_path / "file" / "rejects")


def test_a_fifo_without_a_reader_is_an_error_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device"):
        private_files.replace(tmp_path / "fifo", "text")


WRITES = (
    "import sys; from pathlib import Path; from singer_martech.runtime import private_files;"
    "print('before'); private_files.replace(Path(sys.argv[1]), 'text')"
)
#: Names of standard output.
NAMES = pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])


@NAMES
def test_a_standard_stream_is_written_to_after_what_was_printed(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", WRITES, name], capture_output=True, check=True)
    assert done.stdout == b"before\ntext"


@NAMES
@pytest.mark.parametrize("opened_for", ["w", "a"])
def test_an_open_file_keeps_its_content(tmp_path: Path, name: str, opened_for: str) -> None:
    (tmp_path / "output").write_text("" if opened_for == "w" else "old\n")
    with (tmp_path / "output").open(opened_for) as output:
        if opened_for == "w":
            output.write("old\n")
            output.flush()
        subprocess.run([sys.executable, "-c", WRITES, name], stdout=output, check=True)
        output.write("after")
    assert (tmp_path / "output").read_text() == "old\nbefore\ntextafter"


@NAMES
@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_socket_is_written_to(name: str, *, is_blocking: bool) -> None:
    ours, given = socket.socketpair()
    with ours, given:
        given.setblocking(is_blocking)
        subprocess.run([sys.executable, "-c", WRITES, name], stdout=given.fileno(), check=True)
        assert os.get_blocking(given.fileno()) == is_blocking
        assert ours.recv(100) == b"before\ntext"


@pytest.mark.parametrize("name", ["/dev/fd/999", "/dev/fd/" + "9" * 99, "/dev/fd/01"])
def test_a_descriptor_that_is_not_open_is_an_error(name: str) -> None:
    with pytest.raises(OSError, match=r"No such|Permission|not permitted"):
        private_files.replace(Path(name), "text")


def test_a_new_folder_and_its_parents_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private_files.make_folder(tmp_path / "a" / "b")
        private_files.make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)


def test_an_existing_file_is_not_created_again(secret: Path) -> None:
    with pytest.raises(FileExistsError):
        private_files.create(secret)
    assert secret.read_text() == "untouched"
