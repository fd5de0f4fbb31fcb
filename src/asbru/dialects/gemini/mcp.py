"""Remote MCP servers, which the Gemini API calls itself; Vertex AI has none (google-genai 3.4: `Tool.mcp_servers`).

Which of a server's tools may be called cannot be said, so that a request that says it is refused. What the model does
there is not shown.
"""

from __future__ import annotations

from typing import Any

from asbru.dialects.codec import Context
from asbru.dialects.losses import LossyError
from asbru.dialects.messages import Request

Json = dict[str, Any]


def servers(request: Request, context: Context) -> list[Json]:
    """The servers of a request; raises `LossyError` for what cannot be carried."""
    for index, tool in enumerate(request.tools):
        if tool.type == "mcp_toolset" and (tool.default_config or tool.configs):
            raise LossyError(f"tools.{index}", "The tools of an MCP server cannot be chosen for this model")
    found = []
    for index, server in enumerate(request.mcp_servers):
        path = f"mcp_servers.{index}"
        name, url, chosen = server.get("name"), server.get("url"), server.get("tool_configuration")
        if not isinstance(name, str) or not isinstance(url, str):
            raise LossyError(path, "A server needs a name and a url")
        if isinstance(chosen, dict):
            if chosen.get("enabled") is False:
                continue
            if chosen.get("allowed_tools") is not None:
                raise LossyError(path, "The tools of an MCP server cannot be chosen for this model")
        if context.quirks.vertex:
            raise LossyError(path, "Remote MCP servers are not supported on Vertex AI")
        transport: Json = {"url": url}
        if server.get("authorization_token"):
            transport["headers"] = {"Authorization": f"Bearer {server['authorization_token']}"}
        found.append({"name": name, "streamableHttpTransport": transport})
    return found
