"""Lava's `LIFReset`, observed and windowed. The arithmetic is lava's own in both."""

from __future__ import annotations

from typing import Any

from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset

from .window import Log, Window


class RecordedLIFReset(LIFReset):
    """`LIFReset` that writes u and v of every step to the file ``states``, unless that is None."""

    def __init__(self, *, states: str | None, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.proc_params["states"] = states


class WindowedLIFReset(RecordedLIFReset):
    """`LIFReset` that does not spike outside its ``window`` (the arguments of `Window`)."""

    def __init__(self, *, window: tuple[int, int, int], **parameters: Any) -> None:
        super().__init__(**parameters)
        self.proc_params["window"] = window


class PyRecordedLIFReset(PyLifResetModelBitAcc):
    """Model of `RecordedLIFReset`."""

    # Set by hand: the decorator refuses to derive from a model that implements another process.
    implements_process: type = RecordedLIFReset

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        path = proc_params["states"]
        self.log_states = Log(path) if path else None

    def run_spk(self) -> None:
        """One chip step."""
        super().run_spk()
        if self.log_states:
            self.log_states.write(self.time_step, self.u, self.v)


class PyWindowedLIFReset(PyRecordedLIFReset):
    """Model of `WindowedLIFReset`."""

    implements_process = WindowedLIFReset

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.window = Window(*proc_params["window"])

    def spiking_activation(self) -> Any:
        """Which neurons spike, and are reset for it."""
        return super().spiking_activation() & self.window.holds(self.time_step)
