"""The provider in the box: the Anthropic Messages API, scripted and deterministic, without key, network or model.

`app.handler` is all that others need. Inside, in the order a request meets them: `app` (routes), `caller` (headers),
`models` and `failures` (what the model's name asks for), `request_fields`, `request_shapes` and `shape` (tables of what
requests look like), `validate` and `conversation` (the rules beyond the tables), `request` (the typed request),
`script` with `calls`, `server_tools`, `citations`, `schema` and `pattern` (the answer), `tokens` and `thinking` (its
counts and signatures), `stream` (its events), `answers` (errors and headers). Kept in memory, bounded: `batches`,
`files` (read by `multipart`), `threads`. `pages`, `completions`, `output_schema`, `ids`: what their names say.
"""
