"""Citations: a sentence for each document and search result that asks for them, with where it was found.

The cited text really is at the place the citation names: the first sentence of a text, the first block of a custom
document. A PDF is not read; its citation names the first page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from asbru.sandbox.request import Block, Request, blocks_of

Json = dict[str, object]

MAX_CITED = 200
MAX_CITATIONS = 20
SENTENCE = re.compile(r"[^.!?]*[.!?]?\s?")


def citations(request: Request) -> Iterator[tuple[str, Json]]:
    """Pairs of text and citation, in the order of the documents."""
    documents = [block for block in request.blocks() if block.type == "document"]
    results = [block for block in request.blocks() if block.type == "search_result"]
    made = 0
    for index, block in enumerate(documents):
        if block.cites() and made < MAX_CITATIONS:
            made += 1
            yield _sentence(block.title or f"Document {index + 1}", _of_document(block, index))
    for index, block in enumerate(results):
        if block.cites() and made < MAX_CITATIONS:
            made += 1
            yield _sentence(block.title or "The search result", _of_result(block, index))


def _sentence(title: str, citation: Json) -> tuple[str, Json]:
    return f" {title} says: “{str(citation['cited_text']).strip()}”", citation


def _first_sentence(text: str) -> str:
    found = SENTENCE.match(text[:MAX_CITED])
    return (found.group() if found else "") or text[:MAX_CITED]


def _of_document(block: Block, index: int) -> Json:
    source = block.source_fields()
    common: Json = {"document_index": index, "document_title": block.title}
    if source.get("type") == "text":
        cited = _first_sentence(str(source["data"]))
        place: Json = {"type": "char_location", "start_char_index": 0, "end_char_index": len(cited)}
    elif source.get("type") == "content":
        first = next((item.text for item in blocks_of(source["content"]) if item.type == "text"), "")
        cited = first[:MAX_CITED]
        place = {"type": "content_block_location", "start_block_index": 0, "end_block_index": 1}
    else:
        cited = "The sandbox does not read this kind of document."
        place = {"type": "page_location", "start_page_number": 1, "end_page_number": 2}
    return {**place, "cited_text": cited, **common, "file_id": source.get("file_id")}


def _of_result(block: Block, index: int) -> Json:
    return {
        "type": "search_result_location",
        "cited_text": next((item.text for item in block.inner()), "")[:MAX_CITED],
        "search_result_index": index,
        "source": str(block.source),
        "title": block.title,
        "start_block_index": 0,
        "end_block_index": 1,
    }
