"""Every file-system call of every writer, failed and killed in turn: the old or the new is whole."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from snndeploy import files
from snndeploy.bundle import Bundle, read_bundle, refuse_existing, write_bundle
from snndeploy.errors import InputError
from snndeploy.export import write_nir
from snndeploy.ingest import read_network
from snndeploy.passes.kept import FinishedPass, Kept
from snndeploy.passes.training.loop.checkpoint import Checkpoint
from snndeploy.pipeline import bundle_of, compile, write_text
from tests.support.builders import chain_net

CALLS = frozenset(
    {"open", "write", "fsync", "close", "mkdir", "makedirs", "rename", "replace", "chmod", "unlink"}
    | {"rmdir", "listdir", "fstat", "umask"}
)


class Killed(BaseException):
    """The process is gone: it does nothing any more."""


class Faults:
    """Stands for ``os`` in the writer, counts its calls, and fails or ends at one of them."""

    def __init__(self, at: int = -1, code: int = 0) -> None:
        self.at, self.code, self.calls, self.dead = at, code, 0, False
        self.handles: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self.guarded(name, real) if name in CALLS else real

    def guarded(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self.dead:
                raise Killed
            self.calls += 1
            if self.calls - 1 == self.at:
                if name == "write":  # half of it arrives
                    real(args[0], args[1][: len(args[1]) // 2])
                if not self.code:
                    self.dead = True
                    raise Killed
                if name == "close":  # it fails, and the handle is gone all the same
                    real(*args)
                    self.handles.discard(args[0])
                raise OSError(self.code, os.strerror(self.code))
            result = real(*args, **options)
            if name == "open":
                self.handles.add(result)
            elif name == "close":
                self.handles.discard(args[0])
            return result

        return call

    def bury(self) -> None:
        """What the system does for a process that has ended: its locks are free."""
        for handle in self.handles:
            os.close(handle)


NETWORKS = tuple(
    chain_net([torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)).numpy()])
    for seed in (0, 1)
)


@pytest.fixture(scope="module")
def bundles() -> tuple[Bundle, Bundle]:
    return made()


def made() -> tuple[Bundle, Bundle]:
    first, second = (bundle_of(compile(n, recipe=None)) for n in NETWORKS)
    assert first.program.digest != second.program.digest
    return first, second


def place_nir(folder: Path, which: int, _: Any) -> None:
    write_nir(folder / "out", NETWORKS[which], force=True)


def seen_nir(folder: Path, _: Any) -> object:
    return [n.digest for n in NETWORKS].index(read_network(folder / "out").digest)


def place_text(folder: Path, which: int, _: Any) -> None:
    write_text(folder / "out", f"page {which}\n" * 1000, force=True, option="--html")


def seen_text(folder: Path, _: Any) -> object:
    text = (folder / "out").read_text()
    return [f"page {i}\n" * 1000 for i in (0, 1)].index(text)


def place_files(folder: Path, which: int, _: Any) -> None:
    pages = dict.fromkeys(("first", "second", "last"), f"page {which}\n" * 100)
    files.write_files(folder / "out", pages, force=True)


def seen_files(folder: Path, _: Any) -> object:
    """Each file is whole; the last one says which they are, the new ones or those before."""
    read = {p.name: p.read_text() for p in (folder / "out").glob("[!.]*")}
    which = {name: [f"page {i}\n" * 100 for i in (0, 1)].index(text) for name, text in read.items()}
    new = which.get("last", 0)
    assert not new or which == {"first": 1, "second": 1, "last": 1}
    return new


def place_linked(folder: Path, which: int, _: Any) -> None:
    if not (folder / "link").is_symlink():
        (folder / "link").symlink_to("out")
    write_text(folder / "link", f"page {which}\n" * 1000, force=True, option="--html")
    assert (folder / "link").is_symlink()


def place_checkpoint(folder: Path, which: int, _: Any) -> None:
    Checkpoint(folder / "out", "k", resume=True).save(number=which, values=torch.ones(100))


def seen_checkpoint(folder: Path, _: Any) -> object:
    state = Checkpoint(folder / "out", "k", resume=True).load(torch.device("cpu"))
    assert state is not None
    return state["number"]


def place_kept(folder: Path, which: int, _: Any) -> None:
    Kept(folder, resume=True).save("out", FinishedPass(seconds=which, network=NETWORKS[which]))


def seen_kept(folder: Path, _: Any) -> object:
    found = Kept(folder, resume=True).load("out", FinishedPass)
    assert found is not None
    return found.seconds


def place_bundle(folder: Path, which: int, made: tuple[Bundle, Bundle]) -> None:
    write_bundle(folder / "out", made[which], version="0", force=True)


def seen_bundle(folder: Path, made: tuple[Bundle, Bundle]) -> object:
    return [b.program.digest for b in made].index(read_bundle(folder / "out").program.digest)


WRITERS: dict[str, tuple[Callable[..., None], Callable[..., object]]] = {
    "nir": (place_nir, seen_nir),
    "text": (place_text, seen_text),
    "linked": (place_linked, seen_text),
    "files": (place_files, seen_files),
    "checkpoint": (place_checkpoint, seen_checkpoint),
    "kept": (place_kept, seen_kept),
    "bundle": (place_bundle, seen_bundle),
}


KILLED, FAILED = (0,), (errno.ENOSPC, errno.EACCES, errno.EIO)
"""Ways to end a call. The default suite kills bundles and fails texts; the slow one does all."""
QUICK = {("bundle", KILLED), ("text", KILLED), ("text", FAILED)}
PLACES = {"new": (False, True), "exchanged": (True, True), "renamed": (True, False)}


def cases() -> Iterator[Any]:
    for writer, how in itertools.product(WRITERS, PLACES):
        if how == "renamed" and writer != "bundle":
            continue  # only a directory that replaces another is exchanged
        for name, codes in (("killed", KILLED), ("failed", FAILED)):
            marks = () if (writer, codes) in QUICK else pytest.mark.slow
            yield pytest.param(
                writer, *PLACES[how], codes, id=f"{writer}-{how}-{name}", marks=marks
            )


@pytest.mark.parametrize(("writer", "replaced", "exchange", "codes"), list(cases()))
def test_every_call_fails_and_every_call_is_the_last(
    writer: str,
    replaced: bool,
    exchange: bool,
    codes: tuple[int, ...],
    tmp_path: Path,
    bundles: tuple[Bundle, Bundle],
) -> None:
    tried, lost = points(writer, replaced, exchange, codes, tmp_path, bundles)
    assert lost == []
    assert tried > 8


def points(
    writer: str,
    replaced: bool,
    exchange: bool,
    codes: tuple[int, ...],
    place_of: Path,
    bundles: tuple[Bundle, Bundle],
) -> tuple[int, list[str]]:
    """End a writer at each of its calls; how many there were, and after which something was amiss."""
    place, seen = WRITERS[writer]

    def attempt(folder: Path, faults: Faults) -> str:
        folder.mkdir()
        if replaced:
            place(folder, 0, bundles)
        with pytest.MonkeyPatch.context() as patch:
            swap = files.parts._exchanged if exchange else lambda a, b: False
            patch.setattr(files.parts, "_exchanged", faults.guarded("exchange", swap))
            patch.setattr(files.parts, "os", faults)
            patch.setattr(files.write, "os", faults)
            try:
                place(folder, 1, bundles)
            except Killed:
                return "killed"
            except InputError as error:
                return error.code
            finally:
                faults.bury()
        return "written"

    def amiss(folder: Path, outcome: str, code: int) -> str:
        """What is wrong with what is there, if anything is."""
        failed = {"written", "output-unwritable", "checkpoint-unwritable"}
        if outcome not in (failed if code else {"killed"}):
            return f"it ended in {outcome}"
        if not exchange and not os.path.lexists(folder / "out"):
            # between two renames; whoever names the place next finds the old one there again
            refuse_existing(folder / "out", True)
        there = replaced or os.path.lexists(folder / "out")
        if there and seen(folder, bundles) not in ((1,) if outcome == "written" else (0, 1)):
            return "neither the old nor the new is there"
        place(folder, 1, bundles)
        if seen(folder, bundles) != 1:
            return "the next run did not write"
        left = {p.name for p in folder.iterdir()} - {"out", "link"}
        left |= {p.name for p in folder.rglob(".*")}
        return f"left {sorted(left)}" if left else ""

    counted = Faults()
    assert attempt(place_of / "counted", counted) == "written"
    lost, tried = [], list(itertools.product(range(counted.calls), codes))
    for at, code in tried:
        folder = place_of / f"{at}-{code}"
        outcome = attempt(folder, Faults(at, code))
        try:
            found = amiss(folder, outcome, code)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        if found:
            told = errno.errorcode.get(code, "killed")
            lost.append(f"{writer}: call {at} of {counted.calls}, {told}: {outcome}: {found}")
        shutil.rmtree(folder)
    return len(tried), lost


def enumerated(folder: Path) -> tuple[int, list[str]]:
    """All crash points of all writers; how many there are, and what was amiss after which."""
    both, tried, lost = made(), 0, list[str]()
    for i, case in enumerate(cases()):
        (folder / str(i)).mkdir()
        count, found = points(*case.values, folder / str(i), both)
        tried, lost = tried + count, [*lost, *found]
    return tried, lost


def test_two_writers_at_once_do_not_remove_each_others_parts(tmp_path: Path) -> None:
    with files.parts.beside(tmp_path / "out") as part:
        files.write_file(tmp_path / "out", "second", force=True)
        assert part.exists()
    assert (tmp_path / "out").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_is_not_ours_is_neither_replaced_nor_deleted(
    tmp_path: Path, bundles: tuple[Bundle, Bundle]
) -> None:
    place_bundle(tmp_path, 0, bundles)
    (tmp_path / "out" / "notes.txt").write_text("years")
    with pytest.raises(InputError) as caught:
        place_bundle(tmp_path, 1, bundles)
    assert caught.value.code == "output-foreign-files"
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: it holds 'notes.txt', which snndeploy did not write; nothing is replaced\n"
        "  next: move what is yours out of it, or choose another place with -o"
    )
    assert (tmp_path / "out" / "notes.txt").read_text() == "years"
    assert seen_bundle(tmp_path, bundles) == 0


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_only_files_are_replaced(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "out"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to("/dev/null")
    with pytest.raises(InputError) as caught:
        files.write_file(place, "x", force=True, option="--html")
    assert caught.value.code == "output-not-file"
    assert caught.value.hint == "choose another place with --html"
    assert not Path("/dev/null").is_file()
