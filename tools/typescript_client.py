"""A TypeScript client of the HTTP service, from its OpenAPI document: `tools/docs --client` writes the example's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgerec.serve.app import create_app

__all__ = ["CLIENT", "client"]

CLIENT = Path(__file__).parents[1] / "devices" / "web" / "examples" / "http" / "client.ts"
HEAD = """/** Client of `edgerec serve`, made from its OpenAPI document by `tools/docs --client`. Do not edit. */

/** A request that the service refused; `status` is HTTP's, the message is its one line. */
export class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
"""
CALL = """
export class Client {
  readonly #url: string;
  readonly #headers: Record<string, string>;

  /** `url`: such as http://localhost:8765; `token`: that of the service, if it has one. */
  constructor(url: string, token?: string) {
    this.#url = url.replace(/\\/$/, "");
    this.#headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  }

  async #call(method: string, path: string, body?: unknown): Promise<Response> {
    const headers = { ...this.#headers, Accept: "application/json", "Content-Type": "application/json" };
    const answer = await fetch(this.#url + path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (answer.ok) return answer;
    const text = await answer.text();
    let detail = text;
    try {
      detail = (JSON.parse(text) as { detail: string }).detail;
    } catch {
      // a proxy's page, not the service's JSON
    }
    throw new Refused(answer.status, detail);
  }
"""


def client() -> str:
    """The text of client.ts: a type for each schema, a method for each route."""
    document = create_app(lambda: None).openapi()  # type: ignore[arg-type, return-value]
    schemas = document["components"]["schemas"]
    types = (_type_of(name, schema) for name, schema in schemas.items())
    methods = (
        _method(path, verb, route)
        for path, of in document["paths"].items()
        for verb, route in of.items()
        if "text/plain" not in route["responses"].get("200", {}).get("content", {})  # for monitoring, not for apps
    )
    return HEAD + "".join(types) + CALL + "".join(methods) + "}\n"


def _type_of(name: str, schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", ())
    fields = "".join(
        f"  /** {_line(of)} */\n  {field}{'' if field in needed else '?'}: {_typed(of)};\n"
        for field, of in schema["properties"].items()
    )
    return f"\n/** {_line(schema)} */\nexport interface {name} {{\n{fields}}}\n"


def _line(of: Mapping[str, Any]) -> str:
    return " ".join(of.get("description", of.get("title", "")).split()).replace("*/", "* /")


def _typed(of: Mapping[str, Any]) -> str:
    if "$ref" in of:
        return str(of["$ref"].rpartition("/")[2])
    if "anyOf" in of:
        return " | ".join(dict.fromkeys(_typed(one) for one in of["anyOf"]))
    if of.get("type") == "array":
        inner = _typed(of["items"])
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if of.get("type") == "object":
        return f"Record<string, {_typed(of['additionalProperties'])}>"
    return {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}[
        of["type"]
    ]


def _method(path: str, verb: str, route: Mapping[str, Any]) -> str:
    given, asked, ends = [], [], []
    for of in route.get("parameters", ()):
        name, optional = of["name"], "" if of["required"] else "?"
        if of["in"] == "path":
            given.append(f"{name}: {_typed(of['schema'])}")
            path = path.replace(f"{{{name}}}", f"${{encodeURIComponent({name})}}")
        else:
            asked.append(name)
            given.append(f"{name}{optional}: {_typed(of['schema']).replace(' | null', '')}")
    if "requestBody" in route:
        given.append(f"body: {_typed(route['requestBody']['content']['application/json']['schema'])}")
        ends.append("body")
    answer = route["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema")
    kind = "void" if answer is None else _typed(answer)
    head = f"\n  /** {_line(route)} */\n  async {route['operationId']}({', '.join(given)}): Promise<{kind}> {{\n"
    return head + "".join(_body(verb.upper(), path, asked, ends, kind)) + "  }\n"


def _body(method: str, path: str, asked: list[str], ends: list[str], kind: str) -> Iterator[str]:
    if asked:
        pairs = ", ".join(asked)
        yield "    const query = new URLSearchParams();\n"
        yield f"    for (const [name, value] of Object.entries({{ {pairs} }})) {{\n"
        yield "      if (value !== undefined) query.set(name, String(value));\n    }\n"
        path += "?${query}"
    call = ", ".join([f'"{method}"', f"`{path}`", *ends])
    if kind == "void":
        yield f"    await this.#call({call});\n"
    else:
        yield f"    return (await (await this.#call({call})).json()) as {kind};\n"
