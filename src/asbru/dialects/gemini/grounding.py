"""What Google Search found, told in Anthropic's words: citations on the answer's text, and behind it the search.

Gemini says where an answer comes from when it is over, so that the search stands behind the text that was made of it.
The results' ``encrypted_content`` and ``encrypted_index`` hold the gateway's mark, by which they are known from
Anthropic's own and are never sent there.
"""

from __future__ import annotations

from typing import Any

from asbru.dialects import blobs, json_text
from asbru.dialects.gemini.wire import Grounding, Web
from asbru.dialects.message_stream import MessageStream

Json = dict[str, Any]

MAX_CITATIONS = 200


def cite(grounding: Grounding, stream: MessageStream) -> None:
    """The citations of the text that is open."""
    for citation in _citations(grounding, _pages(grounding)):
        stream.citation(citation)


def is_search(grounding: Grounding) -> bool:
    """Whether pages were found: without any, nothing would bear the mark."""
    return any(page.uri for page in _pages(grounding))


def tell_search(grounding: Grounding, stream: MessageStream, call_id: str) -> None:
    """The search and the pages it found."""
    queries = [query for query in grounding.web_search_queries or () if query]
    stream.tool(call_id, call_id, "web_search", "server_tool_use")
    stream.tool_json(call_id, json_text.encode({"query": "; ".join(queries)}).decode())
    stream.tool_end(call_id)
    results = [_result(page) for page in _pages(grounding) if page.uri]
    stream.block({"type": "web_search_tool_result", "tool_use_id": call_id, "content": results})


def _pages(grounding: Grounding) -> list[Web]:
    return [chunk.web or Web() for chunk in grounding.grounding_chunks or ()]


def _citations(grounding: Grounding, pages: list[Web]) -> list[Json]:
    found: list[Json] = []
    for support in grounding.grounding_supports or ():
        text = support.segment.text if support.segment is not None else None
        for index in support.grounding_chunk_indices or ():
            if not 0 <= index < len(pages) or not pages[index].uri or len(found) >= MAX_CITATIONS:
                continue
            page = pages[index]
            found.append(
                {
                    "type": "web_search_result_location",
                    "url": page.uri,
                    "title": page.title,
                    "cited_text": text or "",
                    "encrypted_index": blobs.UNSIGNED,
                }
            )
    return found


def _result(page: Web) -> Json:
    return {
        "type": "web_search_result",
        "url": page.uri,
        "title": page.title or page.uri,
        "encrypted_content": blobs.UNSIGNED,
        "page_age": None,
    }
