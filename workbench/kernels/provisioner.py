"""The kernel provisioner behind the kernelspec `workbench-warm`: a forked kernel, or else a cold one."""

import os
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

from workbench.kernels.support import why_unsupported

_said: set[str] = set()


class WarmProvisioner(LocalProvisioner):
    """Asks the nursery for a kernel; signals, restarts and the end are those of a local process."""

    cold_reason: str | None = None  # why the last launch was a cold one

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch a warm kernel, or a cold one where that is not possible, and say so once."""
        self.cold_reason = why_unsupported()
        if self.cold_reason is None:
            from workbench.kernels.launch import ColdKernel, launch  # these need Linux

            try:
                self.process = await launch(cmd, kwargs)
            except ColdKernel as error:
                self.cold_reason = str(error)
        if self.cold_reason is not None:
            self._say_once(self.cold_reason)
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.process.pid
        self.pgid = None  # the process signals its group itself, safe from numbers that are used again
        self.cwd = kwargs.get("cwd") or os.getcwd()
        return self.connection_info

    def _say_once(self, reason: str) -> None:
        if reason not in _said:
            _said.add(reason)
            self.log.warning("This kernel starts cold, and so do others: %s", reason)
