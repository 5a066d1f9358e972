"""The command line: the only place for click, rich and exit codes."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import click

from ..errors import SnnDeployError
from .certify import certify
from .compress import compress
from .explain import explain
from .export import export
from .finetune import finetune
from .frontend import frontend
from .info import doctor, lava, passes, targets
from .model import check, compile_, inspect
from .run import demo, report, simulate, verify
from .sensitivity import reduce_timesteps, sensitivity


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
            click.echo("interrupted", err=True)
            sys.exit(130)
        except BrokenPipeError:
            sys.stderr.close()  # the reader has gone; there is nobody to tell
            sys.exit(0)
        except Exception:
            _crash(ctx.meta["arguments"])

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of the work, not of the alphabet


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="snndeploy", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", count=True, help="Say more (twice: debug).")
@click.option("-q", "--quiet", is_flag=True, help="Say only what was asked for.")
def main(verbose: int, quiet: bool) -> None:
    """Take a trained spiking neural network to neuromorphic hardware: smaller, and proven.

    Results go to standard output, everything else to standard error.

    \b
    Exit codes: 0 ok, 1 a bug of ours, 2 usage, 3 bad input, 4 a pass or the lowering refuses,
    5 does not fit, 6 verification failed, 7 a backend is missing.
    """  # noqa: D301
    import logging

    level = (
        logging.ERROR if quiet else [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    )
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)


for _command in (
    inspect,
    compile_,
    check,
    simulate,
    verify,
    certify,
    report,
    explain,
    compress,
    finetune,
    sensitivity,
    reduce_timesteps,
    export,
    demo,
    targets,
    passes,
    frontend,
    lava,
    doctor,
):
    main.add_command(_command)


def _fail(error: SnnDeployError, *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"error": error.record()}, indent=2))
    else:
        click.echo(f"error[{error.code}]: {error}", err=True)
    sys.exit(error.exit_code)


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
    with tempfile.NamedTemporaryFile(
        "w", prefix="snndeploy-bug-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    last = traceback.format_exc().strip().splitlines()[-1]
    click.echo(
        f"error[bug]: snndeploy failed where it should not have ({last})\n"
        f"  next: please report it with {file.name} and, if you can, the input",
        err=True,
    )
    sys.exit(1)
