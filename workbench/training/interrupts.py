"""Interrupts that reach a training even where Python drops them."""

import signal
import threading
from types import FrameType


class Interrupts:
    """Remember SIGINT until it has ended the training.

    Python ignores an exception that is raised within `__del__`, and TensorFlow runs many of these in every
    epoch: about one interrupt in ten of a training of small batches would have no effect.
    """

    _received = False  # of the process, as the signal is

    @classmethod
    def watch(cls) -> None:
        """Begin to remember, where Python's own handler stands and signals arrive: in the main thread."""
        cls._received = False
        if _in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, cls._receive)

    @classmethod
    def release(cls) -> None:
        """Give the signal back to Python's own handler."""
        if _in_main_thread() and signal.getsignal(signal.SIGINT) == cls._receive:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @classmethod
    def raise_dropped(cls) -> None:
        """Raise the interrupt that was received and has not ended the training.

        Raises:
            KeyboardInterrupt: There is one.
        """
        if cls._received and _in_main_thread():
            raise KeyboardInterrupt

    @classmethod
    def _receive(cls, number: int, frame: FrameType | None) -> None:
        cls._received = True
        signal.default_int_handler(number, frame)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
