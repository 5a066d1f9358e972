"""Make the pages that docs/img shows, look at each in Chromium, and take its pictures.

    python tools/shots.py --data FOLDER                 # all; FOLDER holds nir_models/ and nmnist_small/
    python tools/shots.py --only digits --keep pages    # one, whose bundle and page stay in a folder

Each page is made by the commands below, as a user would type them. In the browser it must load nothing,
say nothing on the console, and be no wider than the window; else this ends with 1 and says what was
wrong. Pictures are of a desk (1440 pixels, light and dark), of a phone (390) and of a sheet of paper.

Needs playwright, a Chromium ($CHROMIUM, or chromium on the path), pillow, and snndeploy[report].
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "img"
TALLEST = 3200
"""Pixels of a page that a picture in the documentation shows, from its top."""

_NMNIST = "-d {data}/nmnist_small/nmnist_small.npz --bin-ms 3 --steps 100"
_SINABS = (
    "{data}/nir_models/paper/cnn_sinabs.nir --frontend sinabs --reset subtract "
    "--spikes-per-step many --semantics v_floor=minus-threshold"
)
_BRAILLE = "{data}/nir_models/braille/braille_unique.npz"
_DIGITS = "{digits}/digits.nir --frontend snntorch --reset zero"
_NETWORKS = {"braille": "braille", "cnn-sinabs": "cnn_sinabs", "cnn-sinabs-loihi1": "cnn_sinabs"}
"""What a page calls its network, where that is not the demo's."""

_REPORT = "report {to}.snnb --run {to}.json --html {to}.html"

PAGES: Mapping[str, Mapping[str, str]] = {
    "digits": {
        ".snnb": "demo -o {to}.snnb",
        "-lose.json": f"sensitivity {_DIGITS} -d {{test}} -n 60 --json",
        ".json": "verify {to}.snnb -d {test} -n 200 --json",
        ".html": f"{_REPORT} --sensitivity {{to}}-lose.json --names {{examples}}/digits/names.toml",
    },
    "cnn-sinabs": {
        ".snnb": f"compile {_SINABS} -r {{examples}}/nmnist/recipe.toml {_NMNIST} --input-peak 8 "
        "--skip 990 -n 10 -o {to}.snnb",
        ".json": f"verify {{to}}.snnb {_NMNIST} --skip 1000 -n 20 --json",
        ".html": _REPORT,
    },
    "cnn-sinabs-loihi1": {
        ".snnb": f"compile {_SINABS} --target loihi1 --adapt -r {{examples}}/nmnist/recipe.toml "
        f"{_NMNIST} --frames binary --skip 990 -n 10 -o {{to}}.snnb",
        ".json": f"verify {{to}}.snnb {_NMNIST} --frames binary --skip 1000 -n 20 --json",
        ".html": _REPORT,
    },
    "braille": {
        ".snnb": "compile {data}/nir_models/paper/braille_noDelay_bias_zero.nir "
        f"-r {{examples}}/braille/recipe.toml -d {_BRAILLE} -n 40 -o {{to}}.snnb",
        ".json": f"verify {{to}}.snnb -d {_BRAILLE} --skip 100 -n 60 --json",
        ".html": _REPORT,
    },
    "does-not-fit": {".html": f"check {_DIGITS} --target xylo-a2 --html {{to}}.html"},
    "failed": {
        ".snnb": f"compile {_DIGITS} -r {{to}}.toml -d {{seen}} -o {{to}}.snnb",
        ".json": "verify {to}.snnb -d {test} -n 200 --max-drop 2 --json",
        ".html": _REPORT,
    },
}
"""How each page is made: the commands, each by the end of the file that it writes or prints."""

_TOO_HARD = """\
# Two bits of few weights, and nothing that gives them back: verification is to fail.
name = "too-hard"
guard = "off"

[[pass]]
name = "prune"
sparsity = 0.9

[[pass]]
name = "quantize"
bits = 2
"""
_ENDS = {("does-not-fit", ".html"): 5, ("failed", ".json"): 6}
"""Codes with which commands have to end that do not end well."""

WINDOWS: Mapping[str, tuple[int, str, str]] = {
    "1440": (1440, "light", "screen"),
    "390": (390, "light", "screen"),
    "dark": (1440, "dark", "screen"),
    "print": (720, "light", "print"),
}
"""Width, colours and medium of each picture."""
_FIRST = (1080, "light", "screen")
_FIRST_LOOK = 860
"""Pixels of the first look at the demo's page, which the README shows."""


def made(name: str, folder: Path, data: Path) -> Path:
    """The page, made by the commands of its name in ``folder``; what is there already stays."""
    _samples(folder)
    to = folder / name / _NETWORKS.get(name, "digits")
    to.parent.mkdir(exist_ok=True)
    to.with_suffix(".toml").write_text(_TOO_HARD, encoding="utf-8")
    places = {
        "data": data,
        "digits": ROOT / "snndeploy" / "demo",
        "examples": ROOT / "examples",
        "seen": folder / "digits-seen.npz",
        "test": folder / "digits-test.npz",
        "to": to,
    }
    for end, command in PAGES[name].items():
        result = to.with_name(f"{to.name}{end}")
        if result.exists():
            continue
        line = command.format(**{k: shlex.quote(str(v)) for k, v in places.items()})
        print(f"snndeploy {line}", file=sys.stderr)
        words = [sys.executable, "-m", "snndeploy", *shlex.split(line)]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
        wanted = _ENDS.get((name, end), 0)
        if done.returncode != wanted:
            sys.exit(f"{name}: ended with {done.returncode}, not {wanted}")
        if end.endswith(".json"):
            result.write_bytes(done.stdout)
    return to.with_name(f"{to.name}.html")


def _samples(folder: Path) -> None:
    """Digits that a recipe sees, and others, as files."""
    import numpy as np

    from snndeploy.demo import calibration, digits

    if not (folder / "digits-test.npz").exists():
        test, seen = digits().first(300), calibration()
        for name, one in (("seen", seen), ("test", test)):
            x = np.moveaxis(np.asarray(one.inputs), 0, 1)
            to = folder / f"digits-{name}.npz"
            np.savez(to, x=x) if one.labels is None else np.savez(to, x=x, y=one.labels)


def looked_at(browser: Any, page: Path, window: tuple[int, str, str]) -> tuple[Any, list[str]]:
    """The page in a window, all of it drawn, and what is wrong with it."""
    width, scheme, medium = window
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen, wrong = context.new_page(), []
    seen.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    seen.on("pageerror", lambda error: wrong.append(str(error)))
    own = ("file:", "data:", "blob:")
    seen.on("request", lambda r: None if r.url.startswith(own) else wrong.append(f"loads {r.url}"))
    if medium == "print":
        seen.emulate_media(media="print")
    seen.goto(page.absolute().as_uri())
    pictures = seen.locator(".plot").count()
    seen.wait_for_function(f"document.querySelectorAll('.plot svg').length == {pictures}")
    if (wide := seen.evaluate("document.documentElement.scrollWidth")) > width:
        wrong.append(f"{wide} pixels wide")
    return seen, wrong


def picture(png: bytes, tallest: int) -> bytes:
    """The top of a page in few colours, which is what it has."""
    from PIL import Image

    whole = Image.open(io.BytesIO(png))
    top = whole.crop((0, 0, whole.width, min(whole.height, tallest)))
    out = io.BytesIO()
    few = top.convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.NONE)
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Make pages, look at each, and write its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", nargs="+", choices=tuple(PAGES), default=tuple(PAGES))
    parser.add_argument(
        "--keep", type=Path, help="where bundles and pages stay; those there are not made again"
    )
    parser.add_argument(
        "--whole", action="store_true", help="pictures of whole pages into --keep, too"
    )
    given = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no Chromium: name it in CHROMIUM")
    if given.whole and given.keep is None:
        sys.exit("--whole needs --keep")
    from playwright.sync_api import sync_playwright

    wrong = []
    with tempfile.TemporaryDirectory() as made_in, sync_playwright() as driver:
        folder = Path(made_in) if given.keep is None else given.keep
        folder.mkdir(parents=True, exist_ok=True)
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for name in given.only:
            page = made(name, folder, given.data)
            for word, window in WINDOWS.items():
                seen, faults = looked_at(browser, page, window)
                wrong += [f"{name}, {word}: {fault}" for fault in faults]
                whole = seen.screenshot(full_page=True)
                (IMAGES / f"{name}-{word}.png").write_bytes(picture(whole, TALLEST))
                if given.whole:
                    (folder / f"{name}-{word}.png").write_bytes(whole)
                seen.context.close()
            if name == "digits":
                seen, _ = looked_at(browser, page, _FIRST)
                first = picture(seen.screenshot(full_page=True), _FIRST_LOOK)
                (IMAGES / "page.png").write_bytes(first)
            print(f"{name}: {page.stat().st_size / 1e6:.2f} MB", file=sys.stderr)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
