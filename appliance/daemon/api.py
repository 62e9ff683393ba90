"""The HTTP API, with OpenAPI at /openapi.json. The console is its first client."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from appliance.config.problems import ConfigError
from appliance.daemon.datapath import DatapathLike
from appliance.daemon.service import Applied, Service
from appliance.daemon.status import counters, status
from appliance.errors import ApplianceError

_HTTP_CONFIG_REFUSED = 422
_HTTP_FAILED = 409


class AppliedReply(BaseModel):
    """``settings``: differences of the documents; ``changes``: what was done to the box."""

    settings: list[str]
    changes: list[str]
    warnings: list[str]


class ErrorReply(BaseModel):
    """``code`` is the console's exit code. ``problems``: every error of a configuration."""

    error: str
    hint: str = ""
    code: int
    problems: list[dict[str, Any]] = []


_ERRORS: dict[int | str, dict[str, Any]] = {
    _HTTP_CONFIG_REFUSED: {"model": ErrorReply, "description": "The configuration was refused."},
    _HTTP_FAILED: {"model": ErrorReply, "description": "It could not be done."},
}


def make_api(service: Service, datapath: DatapathLike) -> FastAPI:
    """The application; ``service`` does the work, in threads."""
    api = FastAPI(title="edge64", version="1", description="The control plane of edge64.")

    @api.exception_handler(ApplianceError)
    async def failed(_: Request, error: ApplianceError) -> JSONResponse:
        problems = error.problems if isinstance(error, ConfigError) else ()
        reply = ErrorReply(
            error=str(error),
            hint=error.hint,
            code=error.exit_code,
            problems=[one.as_json() for one in problems],
        )
        code = _HTTP_CONFIG_REFUSED if isinstance(error, ConfigError) else _HTTP_FAILED
        return JSONResponse(reply.model_dump(), code)

    @api.get("/v1/status")
    def get_status() -> dict[str, Any]:
        """State of the daemon, interfaces, processes and next hops."""
        return status(service)

    @api.get("/v1/counters")
    def get_counters() -> list[dict[str, Any]]:
        """Packets, bytes and reasons by interface, CPU and job."""
        return counters(datapath.counters())

    @api.get("/v1/config")
    def get_document() -> dict[str, str]:
        """The running document, with its comments."""
        return {"text": service.running.text if service.running else ""}

    @api.put("/v1/config", response_model=AppliedReply, responses=_ERRORS)
    async def put_config(request: Request, dry_run: bool = False) -> AppliedReply:
        """Applies a YAML document whole, or refuses it whole. ``dry_run`` only checks."""
        try:
            text = (await request.body()).decode()
        except UnicodeDecodeError:
            raise ApplianceError("the document is not UTF-8 text") from None
        work = service.check if dry_run else service.apply
        applied: Applied = await run_in_threadpool(work, text)
        return AppliedReply(
            settings=applied.settings, changes=applied.changes, warnings=applied.warnings
        )

    return api
