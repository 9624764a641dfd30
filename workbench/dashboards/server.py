"""The extension of the Jupyter server that lets the panel follow and steer runs without a kernel.

    GET  <base>workbench/events?run=FOLDER&offset=N   the next lines of a run's event log
    GET  <base>workbench/pipeline?path=FOLDER         the steps of a pipeline and how they stand
    POST <base>workbench/control?run=FOLDER           {"action", "value"}: ask something of a training
    GET  <base>workbench/static/NAME                  the panel's scripts

Whoever may use the server may run code on it, so any run folder that the server can read is shown. Nothing
but the event log, `run.json` and `state.json` is read, and nothing but `control.json` is written.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, FileFindHandler
from jupyter_server.utils import url_path_join
from tornado import web

from workbench.controls import request_control
from workbench.dashboards.state import read_log, read_pipeline
from workbench.errors import WorkbenchError

STATIC = Path(__file__).parent / "static"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "workbench.dashboards.server"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Register the handlers; Jupyter calls it when the server starts."""
    base = url_path_join(server.web_app.settings["base_url"], "workbench")
    server.web_app.add_handlers(
        ".*$",
        [
            (f"{base}/events", EventsHandler),
            (f"{base}/pipeline", PipelineHandler),
            (f"{base}/control", ControlHandler),
            (f"{base}/static/(.*)", FileFindHandler, {"path": [str(STATIC)]}),
        ],
    )


class _RunHandler(APIHandler):
    """Answers with JSON; Jupyter's own authentication and authorization apply."""

    auth_resource = "contents"
    _track_activity = False  # an open panel must not keep an idle server from being culled


class EventsHandler(_RunHandler):
    """Serves an event log from an offset on, in whole lines."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        try:
            offset = int(self.get_argument("offset", "0"))
        except ValueError as error:
            raise web.HTTPError(400, "The offset is no number.") from error
        run = Path(self.get_argument("run"))
        self.finish(json.dumps(await asyncio.to_thread(read_log, run, offset)))


class PipelineHandler(_RunHandler):
    """Serves the state of a pipeline."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        path = Path(self.get_argument("path"))
        self.finish(json.dumps(await asyncio.to_thread(read_pipeline, path)))


class ControlHandler(_RunHandler):
    """Passes on what a person asks of a training."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        body = self.get_json_body()
        try:
            if not isinstance(body, dict):
                raise WorkbenchError("The request holds no action.")
            run, action, value = Path(self.get_argument("run")), body.get("action"), body.get("value")
            request = await asyncio.to_thread(request_control, run, action, value, "panel")
        except WorkbenchError as error:
            self.set_status(400)
            self.finish(json.dumps({"message": str(error)}))
        else:
            self.finish(json.dumps(request))
