"""Which JSON schemas structured outputs take: the subset of contract §2.5, with the real API's refusals.

Every object must say ``additionalProperties: false``; constraints on size, length and range are not supported, and
neither are schemas that contain themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from asbru.sandbox.answers import invalid

UNSUPPORTED = {
    "array": ("maxItems", "uniqueItems", "contains", "minContains", "maxContains"),
    "integer": ("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum", "multipleOf"),
    "number": ("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum", "multipleOf"),
    "object": ("minProperties", "maxProperties", "patternProperties", "propertyNames"),
    "string": ("maxLength", "minLength", "pattern"),
}
FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")


def check_schema(schema: Mapping[str, object], where: str) -> None:
    """Raises `ApiError` whose text begins with ``where`` when the schema is outside the subset."""
    _Checker(schema, where).check(schema, ())


class _Checker:
    def __init__(self, root: Mapping[str, object], where: str) -> None:
        self.root = root
        self.where = where
        self.done: set[str] = set()
        """References whose targets are in order: each is looked at once."""

    def check(self, node: object, inside: tuple[str, ...]) -> None:
        if not isinstance(node, dict):
            return
        reference = node.get("$ref")
        if isinstance(reference, str):
            self.follow(reference, inside)
            return
        kinds = node.get("type")
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            _check_kind(node, kind, self.where)
        if "oneOf" in node:
            raise invalid(f"{self.where}: Schema type 'oneOf' is not supported")
        for key in ("anyOf", "allOf", "prefixItems"):
            children = node.get(key)
            for child in children if isinstance(children, list) else []:
                self.check(child, inside)
        self.check(node.get("items"), inside)
        properties = node.get("properties")
        for child in properties.values() if isinstance(properties, dict) else []:
            self.check(child, inside)

    def follow(self, reference: str, inside: tuple[str, ...]) -> None:
        if reference in inside:
            raise invalid(f"{self.where}: Recursive schemas are not supported: '{reference}'")
        if reference not in self.done:
            self.check(self.resolve(reference), (*inside, reference))
            self.done.add(reference)

    def resolve(self, reference: str) -> object:
        """What ``#/$defs/<name>`` points at."""
        parts = reference.split("/")
        group = self.root.get(parts[1]) if len(parts) == 3 and parts[0] == "#" else None
        if not isinstance(group, dict) or parts[2] not in group:
            raise invalid(f"{self.where}: Invalid $ref: '{reference}'")
        found: object = group[parts[2]]
        return found


def _check_kind(node: Mapping[str, object], kind: object, where: str) -> None:
    if kind == "object" and node.get("additionalProperties") is not False:
        given = node.get("additionalProperties")
        if given is None:
            raise invalid(f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false")
        raise invalid(
            f"{where}: For 'object' type, 'additionalProperties: {str(given).lower()}' is not supported. "
            "Please set 'additionalProperties' to false"
        )
    refused = [name for name in UNSUPPORTED.get(str(kind), ()) if name in node]
    if refused:
        names = f"property '{refused[0]}' is" if len(refused) == 1 else f"properties {', '.join(refused)} are"
        raise invalid(f"{where}: For '{kind}' type, {names} not supported")
    if kind == "string" and node.get("format", "uuid") not in FORMATS:
        raise invalid(f"{where}: For 'string' type, format '{node.get('format')}' is not supported")
