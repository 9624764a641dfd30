"""A client of a kernel that knows at once when the kernel is ready."""

import time
from queue import Empty

from jupyter_client.asynchronous import AsyncKernelClient

ANSWER_PATIENCE = 1.0  # seconds until a kernel is asked again
OUTPUT_PATIENCE = 0.2  # seconds until an answer whose outputs were not heard is asked for again


class PromptKernelClient(AsyncKernelClient):
    """Waits for what ends the kernel's first answer; jupyter_client's waits 0.2 s for silence after it."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel has answered and its outputs are heard.

        Args:
            timeout: Seconds; for ever by default.

        Raises:
            RuntimeError: It died, or did not answer in time.
        """
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while not await self._has_answered():
            if not await self._async_is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > end:
                raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")

    async def _has_answered(self) -> bool:
        """Ask the kernel what it is; tell whether reply and last output came."""
        request = self.kernel_info()
        try:
            reply = await self._async_recv_reply(request, ANSWER_PATIENCE)
            while True:  # what came before is of no request of ours
                output = await self.get_iopub_msg(timeout=OUTPUT_PATIENCE)
                ours = output["parent_header"].get("msg_id") == request
                if ours and output["content"].get("execution_state") == "idle":
                    break
        except (TimeoutError, Empty):
            return False
        self._handle_kernel_info_reply(reply)
        return True
