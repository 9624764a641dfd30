"""What a client asks a nursery for, checked on arrival: a kernel with all that belongs to its client."""

import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from workbench.kernels.protocol import ProtocolError

RESET_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}  # ignored in every Python process, whatever its parent did
STREAMS = 3  # descriptors of standard input, output and error; a fourth is a pidfd of the client


@dataclass(frozen=True)
class KernelRequest:
    """Everything that a process inherits from the one that starts it, and the kernel's arguments."""

    arguments: list[str]  # of ipykernel: -f and the connection file
    folder: str
    environment: dict[str, str]
    umask: int
    limits: dict[str, int]  # soft limits by name, -1 for none
    ignored: list[int]  # signals that the client ignores
    blocked: list[int]  # signals that its thread blocks

    def message(self) -> dict[str, Any]:
        """Return the request as it is sent."""
        return {"ask": "kernel"} | asdict(self)


def parse_kernel_request(message: dict[str, Any], descriptors: list[int]) -> KernelRequest:
    """Return the request that `message` holds.

    Raises:
        ProtocolError: A field is missing, unknown or of another type, or descriptors are missing.
    """
    if len(descriptors) not in (STREAMS, STREAMS + 1):
        raise ProtocolError(f"a kernel needs {STREAMS} descriptors, not {len(descriptors)}")
    fields = {key: value for key, value in message.items() if key != "ask"}
    if fields.keys() != _CHECKS.keys():
        raise ProtocolError("a kernel request has other fields")
    for name, is_right in _CHECKS.items():
        if not is_right(fields[name]):
            raise ProtocolError(f"{name} of a kernel request is not what it should be")
    return KernelRequest(**fields)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_right, value))


def _is_mapping(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(is_right, value.values()))


def _is_environment(value: Any) -> bool:
    return _is_mapping(_is_text)(value) and all(name and _is_text(name) and "=" not in name for name in value)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "arguments": _is_list(_is_text),
    "folder": _is_text,
    "environment": _is_environment,
    "umask": lambda value: _is_number(value) and 0 <= value <= 0o777,
    "limits": _is_mapping(_is_number),
    "ignored": _is_list(_is_number),
    "blocked": _is_list(_is_number),
}
