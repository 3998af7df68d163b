"""Where a run's files lie: a folder on this machine, or object storage behind an address."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from synthgen.errors import RunError
from synthgen.storage.files import beside, check_kind, check_size, inside, write_bytes
from synthgen.storage.objects import ObjectStorage

__all__ = [
    "LocalFolder",
    "ObjectStorage",
    "Storage",
    "StoredFile",
    "hide_passwords",
    "inside",
    "open_storage",
]

SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory")  # memory: for tests
USER_INFO = re.compile(r"://[^/\s@]*:[^/\s@]*@")


class Storage(Protocol):
    """Keeps bytes under names.

    A name has ``/`` between its parts, as in ``images/pit-000001.png``, and cannot lead outside
    (see ``inside``). A storage that refuses raises RunError. Reading what is not there raises
    FileNotFoundError.
    """

    @property
    def location(self) -> str:
        """Where it is, for messages and for ``open_storage``."""
        ...

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return the bytes of a file, or ``size`` of them from ``start``."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that must not be there yet; say whether it was written."""
        ...

    def exists(self, name: str) -> bool:
        """Say whether there is a file of this name."""
        ...

    def names(self, folder: str = "") -> list[str]:
        """Return what lies directly in a folder, files and folders, sorted; [] for none."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is not an error."""
        ...

    def local(self, name: str) -> Path | None:
        """Return the path of a file on this machine, None where it lies elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder on this machine.

    ``follows_links``: names are the user's own, no file gave them, so that links may lead anywhere.
    """

    folder: Path
    follows_links: bool = False

    @property
    def location(self) -> str:
        """The folder's path, as it was given."""
        return str(self.folder)

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return the bytes of a file, or ``size`` of them; less where it ends before.

        Raises FileNotFoundError, and RunError where the disk refuses or it is over 4 GiB.
        """
        path = self._place(name)
        try:
            with path.open("rb") as file:
                left = max(0, os.fstat(file.fileno()).st_size - start)
                wanted = left if size is None else min(size, left)
                check_size(path, wanted)
                if not wanted:
                    return b""
                file.seek(start)
                return file.read(wanted)
        except FileNotFoundError:
            raise
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args, str(path)) from error
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}") from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file beside its place, and move it there; folders are made as needed."""
        write_bytes(self._place(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that must not be there yet; of several writers one alone gets True."""
        path = self._place(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with beside(path) as whole:
                whole.write_bytes(data)
                _link(whole, path)
        except FileExistsError:
            return False
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}") from error
        return True

    def exists(self, name: str) -> bool:
        """Say whether there is a file of this name; a folder does not count."""
        return self._place(name).is_file()

    def names(self, folder: str = "") -> list[str]:
        """Return what lies directly in a folder, hidden files too, sorted; [] for none."""
        try:
            return sorted(entry.name for entry in os.scandir(self._place(folder)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"cannot list {self.folder / folder}: {error.strerror}") from error

    def remove(self, name: str) -> None:
        """Remove a file, if it is there; raises RunError where the disk refuses."""
        try:
            self._place(name).unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"cannot remove {self.folder / name}: {error.strerror}") from error

    def local(self, name: str) -> Path | None:
        """Return the path of a file, there or not."""
        return self._place(name)

    def _place(self, name: str) -> Path:
        if not name:
            return self.folder
        if not self.follows_links:
            return inside(self.folder, name)
        path = self.folder / name
        with suppress(OSError):  # whoever opens it says so
            check_kind(path, path.stat().st_mode)
        return path


def _link(whole: Path, path: Path) -> None:
    """Give a file a second name, unless it is taken; raises FileExistsError."""
    try:
        os.link(whole, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: readers may see it half-written
        with path.open("xb") as file:
            file.write(whole.read_bytes())


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a storage, whether or not it is on this machine."""

    storage: Storage
    path: str

    @classmethod
    def at(cls, path: Path) -> StoredFile:
        """Return the file at a path on this machine, which may be a link."""
        return cls(LocalFolder(path.parent, follows_links=True), path.name)

    def __str__(self) -> str:
        return f"{self.storage.location}/{self.path}"

    @property
    def name(self) -> str:
        """The last part of its path, as ``pit-000001.png``."""
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return PurePosixPath(self.path).stem

    @property
    def suffix(self) -> str:
        """The last suffix of its name with the dot, '' for none."""
        return PurePosixPath(self.path).suffix

    @property
    def local(self) -> Path | None:
        """Its path on this machine; None where it lies elsewhere or inside another file."""
        return self.storage.local(self.path)

    def is_file(self) -> bool:
        """Say whether it is there; raises RunError where the storage does not answer."""
        return self.storage.exists(self.path)

    def read_bytes(self) -> bytes:
        """Return its bytes; raises FileNotFoundError, and RunError where the storage refuses."""
        return self.storage.read(self.path)

    def read_head(self, size: int) -> bytes:
        """Return its first bytes."""
        return self.storage.read(self.path, 0, size)


def hide_passwords(text: str) -> str:
    """Return a text without the passwords of the addresses in it.

    >>> hide_passwords("ray://ann:secret@head:10001 does not answer")
    'ray://***@head:10001 does not answer'
    """
    return USER_INFO.sub("://***@", text)


def open_storage(location: str | Path) -> Storage:
    """Return the storage at a path, or at an address such as ``s3://bucket/prefix``.

    ``s3://``: keys and region come from the usual AWS variables or files, another server's address
    from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. Raises RunError where nothing answers, and for an
    address of a kind that runs cannot lie at, or with a password in it.
    """
    text = str(location)
    if re.match(r"^\w[\w+.-]+:/[^/]", text) and not Path(text).exists():
        raise RunError(
            f"{text!r} has one slash behind its colon; write {text.replace(':/', '://')}"
        )
    if "://" not in text:
        return LocalFolder(Path(text).expanduser())
    if text.startswith("file://"):
        return LocalFolder(Path(text.removeprefix("file://")))
    scheme = text.partition("://")[0]
    if scheme not in SCHEMES:
        raise RunError(
            f"{text} is an address of a kind that is not opened; there are "
            f"{', '.join(f'{name}://' for name in SCHEMES)}, and folders"
        )
    if USER_INFO.search(text):
        raise RunError(
            f"{text} holds a user or a password, which would be stored; give keys by the variables "
            "of the environment or the files that its cloud knows"
        )
    storage = ObjectStorage(text.rstrip("/"))
    storage.reach()
    return storage
