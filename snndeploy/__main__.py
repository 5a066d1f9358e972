"""``python -m snndeploy``, and the console script."""

import signal


def run() -> None:
    """Run the command line; signals are obeyed without a traceback from the first import on."""
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:  # there is nothing to clean up yet
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main
    from .cli.bounds import terminate

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, terminate)
    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main(prog_name="snndeploy")


if __name__ == "__main__":
    run()
