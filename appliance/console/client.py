"""The console's side of the API: HTTP over edge64d's unix socket."""

from typing import Any

import click
import httpx

from appliance.daemon.paths import RuntimePaths
from appliance.errors import ApplianceError, ExitCode, NoDaemon

APPLY_SECONDS = 120.0


class Refused(ApplianceError):
    """edge64d answered with an error; it has said which."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(reply["error"], reply.get("hint", ""))
        self.exit_code = ExitCode(reply["code"])
        self.problems: list[dict[str, Any]] = reply.get("problems", [])


def call(
    method: str, path: str, *, content: bytes | None = None, params: dict[str, Any] | None = None
) -> Any:
    """The reply's JSON. NoDaemon when nobody answers, Refused for an error reply."""
    socket = RuntimePaths.from_environment().api_socket
    transport = httpx.HTTPTransport(uds=str(socket))
    try:
        with httpx.Client(
            transport=transport, base_url="http://edge64", timeout=APPLY_SECONDS
        ) as client:
            reply = client.request(method, path, content=content, params=params)
    except httpx.TimeoutException as error:
        raise NoDaemon(f"edge64d did not answer within {APPLY_SECONDS:.0f} s") from error
    except httpx.TransportError as error:
        raise NoDaemon(
            f"edge64d does not answer on {socket}: {error}",
            "is it running, is EDGE64_RUNTIME_DIR right, are you root?",
        ) from error
    if reply.status_code in (409, 422):
        body = reply.json()
        if "error" in body:
            raise Refused(body)
    if not reply.is_success:
        raise ApplianceError(f"edge64d answered {reply.status_code} to {method} {path}")
    return reply.json()


def show_problems(problems: list[dict[str, Any]]) -> None:
    for one in problems:
        place = f" (line {one['line']}, column {one['column']})" if one.get("line") else ""
        click.echo(f"  {one['path']}{place}: {one['found']}; allowed: {one['allowed']}", err=True)
