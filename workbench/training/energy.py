"""Energy and CO₂ of a training, by codecarbon: measured where the machine has counters, else estimated."""

import logging
import os
import weakref
from collections.abc import Iterable
from typing import Any

from workbench.errors import WorkbenchError

VARIABLE = "WORKBENCH_ENERGY"  # asks for energy where `wb.callbacks` is not told: 1, or the code of a country
_COUNTERS = {
    "intel_rapl": "RAPL",
    "windows_emi": "the energy meter of Windows",
    "intel_power_gadget": "Intel Power Gadget",
}  # modes of codecarbon's CPU that read a counter


class EnergyMeter:
    """Energy (kWh) and CO₂ (kg) since it was made, until `stop`.

    codecarbon looks at the machine in threads of its own, once a second; it writes no file, says nothing and
    never uses the network. What it estimates is of this process, what it reads from counters of the machine.

    Args:
        country: Whose electricity it is, as three letters of ISO 3166-1; "" for the one that codecarbon's
            own settings tell (`CODECARBON_COUNTRY_ISO_CODE`), or else the average of the world.

    Raises:
        WorkbenchError: codecarbon is not installed or cannot start, or it does not know the country.
    """

    def __init__(self, country: str = "") -> None:
        codecarbon = _load(country)
        self._sums = _collect_sums()
        self._tracker = codecarbon.OfflineEmissionsTracker(
            **({"country_iso_code": country} if country else {}),
            tracking_mode="process",  # trainings side by side do not count one another, as far as it can tell
            allow_multiple_runs=True,  # else a lock file refuses the second of them
            output_methods=[],
            output_handlers=[self._sums],
            emissions_endpoint="",
            electricitymaps_api_token="",  # with one it would ask a server for the present mix
            log_level="critical",
        )
        self._tracker.start()
        # `fit` tells no callback of an exception, so the threads end with the meter, too.
        self._end = weakref.finalize(self, self._tracker.stop)
        self.read()

    def read(self) -> tuple[float, float, str]:
        """Return energy and CO₂ so far, and how they were found.

        Raises:
            WorkbenchError: codecarbon has nothing to tell.
        """
        if self._end.alive:
            self._tracker.flush()  # hands them to `_sums`; codecarbon itself logs an error and goes on
        if self._sums.total is None:
            raise WorkbenchError(
                "The energy of the training was asked for, but codecarbon could not measure here.\n"
                "Train without energy, or see what `codecarbon detect` says in a terminal."
            )
        total = self._sums.total
        method = describe_method(self._tracker._hardware, total.codecarbon_version, total.country_name)
        return total.energy_consumed, total.emissions, method

    def stop(self) -> None:
        """End the threads; the sums stay."""
        self._end()


def requested_country(energy: bool | str | None) -> str | None:
    """Return the country for an `EnergyMeter`, or None where no energy is asked for.

    Args:
        energy: Yes or no, or a country; None for what the variable `WORKBENCH_ENERGY` says.

    Raises:
        WorkbenchError: codecarbon is not installed, or it does not know the country.
    """
    if energy is None:
        told = os.environ.get(VARIABLE, "")
        energy = {"": False, "0": False, "1": True}.get(told, told)
    if energy is False:
        return None
    country = energy.upper() if isinstance(energy, str) else ""
    _load(country)
    return country


def describe_method(hardware: Iterable[Any], version: str, country: str | None) -> str:
    """Return which figures were measured and which estimated, from the parts that codecarbon follows.

    Args:
        hardware: Objects of `codecarbon.external.hardware`.
        version: Of codecarbon.
        country: The name of the country whose electricity is assumed; None for the world's average.
    """
    measured, estimated = [], []
    for part in hardware:
        kind, mode = type(part).__name__, getattr(part, "_mode", "")
        if kind == "GPU":
            measured.append("GPU by its driver")
        elif kind in ("AppleSiliconChip", "Raspberry"):
            measured.append(f"{part.chip_part} by its own meter")
        elif mode in _COUNTERS:
            measured.append(f"processor by {_COUNTERS[mode]}")
        elif kind == "CPU":
            how = "from its load and" if mode == "cpu_load" else "as a constant share of"
            estimated.append(f"processor {how} {part._tdp:g} W (thermal design power)")
        else:
            estimated.append("memory from its size")
    told = [f"measured for the whole machine: {', '.join(measured)}"] if measured else []
    told += [f"estimated: {', '.join(estimated)}"] if estimated else []
    told += [f"CO₂ estimated for electricity of {country or 'the world on average'}"]
    return f"{'; '.join(told)}; by codecarbon {version}"


def _load(country: str) -> Any:
    """Return the package, silenced, after a look whether it knows the country."""
    try:
        import codecarbon
        from codecarbon.input import DataSource
    except ImportError as error:
        raise WorkbenchError(
            "The energy of the training was asked for, but the package codecarbon is not installed.\n"
            "Install it: pip install 'workbench[energy]'. Or train without energy."
        ) from error
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # it also speaks before it reads its settings
    if country and country not in DataSource().get_global_energy_mix_data():
        raise WorkbenchError(
            f"The energy of the training was asked for with the country {country!r}, which codecarbon does "
            "not know.\n"
            "Give three letters of ISO 3166-1, such as DEU or USA, or True (in the variable "
            f"{VARIABLE}: 1) for the average of the world."
        )
    return codecarbon


def _collect_sums() -> Any:
    """Return what keeps the last sums that codecarbon hands out."""
    from codecarbon.output_methods.base_output import BaseOutput

    class Sums(BaseOutput):
        total: Any = None  # an EmissionsData

        def out(self, total: Any, delta: Any) -> None:
            self.total = total

    return Sums()
