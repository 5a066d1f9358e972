"""What a certificate comes to, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snndeploy.pipeline import certificate_of, loaded_bundle, place_file, save_bundle
from snndeploy.report import certificate_line
from tests.support.netx_files import dense, net, resonators

FOUND = "certified: a separate checker found every number, delay"


def line(file: Path, folder: Path) -> str:
    path = save_bundle(folder / "net.snnb", loaded_bundle(place_file(file)))
    return certificate_line(certificate_of(path))


def test_what_is_proved_of_all(tmp_path: Path) -> None:
    said = line(net(tmp_path, dense(np.ones((2, 3)))), tmp_path)
    assert said == (
        f"{FOUND}, core and golden spike as stated; "
        "head-room is proved for all inputs of 2 of 2 registers"
    )


def test_what_is_proved_of_some(tmp_path: Path) -> None:
    said = line(net(tmp_path, dense([[30, -40], [-20, 0]])), tmp_path)
    assert said == (
        f"{FOUND}, core and golden spike as stated; head-room is proved for all inputs of 1 of 2 "
        "registers, and the worst input found is kept for the others"
    )


def test_what_nobody_looked_at_is_not_said_to_be_found(tmp_path: Path) -> None:
    """Neurons with rules of their own were said to spike as stated, and 0 of 0 to be proved."""
    said = line(net(tmp_path, resonators()), tmp_path)
    assert said == f"{FOUND} and core as stated; head-room and the golden run it did not check"
