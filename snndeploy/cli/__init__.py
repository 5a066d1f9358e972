"""The command line: the only place for click, rich and exit codes."""

from __future__ import annotations

import gc
import json
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from ..errors import InputError, SnnDeployError
from ..plain import one_line
from .bounds import Terminated, TimeUp, bounded
from .certify import certify
from .compress import compress
from .explain import explain
from .export import export
from .finetune import finetune
from .frontend import frontend
from .info import doctor, lava, passes, recipes, targets, xylo
from .look.report import report
from .model import check, compare, compile_, init, inspect
from .run import demo, simulate, verify
from .sensitivity import reduce_timesteps, sensitivity
from .show.telling import say
from .tune import tune


class _Group(click.Group):
    """Turns our errors into one message and an exit code, and anything else into a bug report."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["arguments"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SnnDeployError as error:
            _fail(error, as_json="--json" in ctx.meta["arguments"])
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            say("interrupted", err=True)
            sys.exit(130)
        except Terminated:
            say("terminated", err=True)
            sys.exit(143)
        except TimeUp:
            _fail(_over("time", "--timeout SECONDS"), as_json="--json" in ctx.meta["arguments"])
        except MemoryError:
            _fail(_over("memory", "--max-memory MIB"), as_json="--json" in ctx.meta["arguments"])
        except BrokenPipeError:
            _forget_output()
            sys.exit(0)
        except Exception as error:
            if "can't allocate memory" in str(error):  # torch's own words
                _fail(_over("memory", "--max-memory MIB"), as_json=False)
            _crash(ctx.meta["arguments"])

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of the work, not of the alphabet


def _forget_output() -> None:
    """The reader has gone: what is still to be written goes nowhere, and there is nobody to tell."""
    with suppress(OSError, ValueError):  # a stream that is no file has nothing left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stderr.close()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="snndeploy", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", count=True, help="Say more (twice: debug).")
@click.option("-q", "--quiet", is_flag=True, help="Say only what was asked for.")
@click.option(
    "--max-memory",
    type=click.IntRange(min=256),
    metavar="MIB",
    help="Memory for reading a file (default: 1024), and for all but the libraries.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time that the whole command may take.",
)
@click.option(
    "--lava-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time that Lava may take for its next steps (default: 300).",
)
@click.pass_context
def main(
    ctx: click.Context,
    verbose: int,
    quiet: bool,
    max_memory: int | None,
    timeout: float | None,
    lava_timeout: float | None,
) -> None:
    """Take a trained spiking neural network to neuromorphic hardware: smaller, and proven.

    Results go to standard output, everything else to standard error.

    \b
    Exit codes: 0 ok, 1 a bug of ours, 2 usage, 3 bad input, 4 a pass or the lowering refuses,
    5 does not fit, 6 verification failed, 7 a backend is missing.
    """  # noqa: D301
    import logging

    # Networks and programs hold no cycles: looking for them takes a sixth of a large compilation.
    gc.set_threshold(200_000, 50, 100)
    level = (
        logging.ERROR if quiet else [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    )
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)
    ctx.with_resource(bounded(max_memory, timeout, lava_timeout))


for _command in (
    init,
    inspect,
    compile_,
    check,
    compare,
    simulate,
    verify,
    certify,
    report,
    explain,
    compress,
    finetune,
    sensitivity,
    reduce_timesteps,
    tune,
    export,
    demo,
    targets,
    passes,
    recipes,
    frontend,
    lava,
    xylo,
    doctor,
):
    main.add_command(_command)


def _fail(error: SnnDeployError, *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"error": error.record()}, indent=2))
    else:
        told = str(error)
        if error.where:  # a name from a file
            told = one_line(error.where) + told.removeprefix(error.where)
        say(f"error[{error.code}]: {told}", err=True)
    sys.exit(error.exit_code)


def _over(what: str, option: str) -> InputError:
    return InputError(
        f"{what}-limit",
        f"it takes more {what} than it may",
        hint=f"give it more: snndeploy {option} COMMAND …",
    )


def _crash(arguments: list[str]) -> NoReturn:
    """Save what a maintainer needs to see, and say where."""
    import platform
    import tempfile
    import traceback
    from importlib.metadata import version

    text = "\n".join(
        [
            f"snndeploy {version('snndeploy')}, "
            f"Python {platform.python_version()}, {platform.platform()}",
            f"command: {arguments}",
            "",
            traceback.format_exc(),
        ]
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="snndeploy-bug-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
        saved = file.name
    except OSError:  # of all places, a full disk
        say(text, err=True)
        saved = "the text above"
    last = traceback.format_exc().strip().splitlines()[-1]
    say(
        f"error[bug]: snndeploy failed where it should not have ({last})\n"
        f"  next: please report it with {saved} and, if you can, the input",
        err=True,
    )
    sys.exit(1)
