"""`stethoscope mcp`: a server for agents, over standard input and output."""

from __future__ import annotations

from collections.abc import Callable

import click


@click.command("mcp")
def command() -> Callable[[], int]:
    """Serve the Model Context Protocol on standard input and output: lint, check, run, data, diagnose, explain, runs.

    \b
        {"mcpServers": {"stethoscope": {"command": "stethoscope", "args": ["mcp"]}}}
    """
    from stethoscope.adapters.mcp_server import make_server

    server = make_server()

    def serve() -> int:
        server.run("stdio")
        return 0

    return serve
