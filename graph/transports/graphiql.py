"""GraphiQL, served by ourselves; from a CDN, with integrity hashes, where `build_graphiql` has not run."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from starlette.responses import HTMLResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

FOLDER: Final = Path(__file__).parent / "graphiql"
MOUNTED_AT: Final = "/graphiql"
CDN: Final = "https://cdn.jsdelivr.net"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of a package of the npm registry, and the hash that it must have."""

    name: str
    package: str
    version: str
    path: str
    integrity: str

    @property
    def cdn_url(self) -> str:
        """Where the CDN has it."""
        return f"{CDN}/npm/{self.package}@{self.version}/{self.path}"


# GraphiQL 5 has no file that a page can load without a bundler, and 4 needs React 18, whose packages still have one.
ASSETS: Final = (
    Asset(
        "react.js",
        "react",
        "18.3.1",
        "umd/react.production.min.js",
        "sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z",
    ),
    Asset(
        "react-dom.js",
        "react-dom",
        "18.3.1",
        "umd/react-dom.production.min.js",
        "sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1",
    ),
    Asset(
        "graphql-ws.js",
        "graphql-ws",
        "5.16.2",
        "umd/graphql-ws.min.js",
        "sha384-+EVxFEOpy8LWPRQcpntm0FKN2O+BzrMNSL0G3HIgVWFmeb6xqZqjuLivrQUTXZKi",
    ),
    Asset(
        "graphiql.js",
        "graphiql",
        "4.1.2",
        "graphiql.min.js",
        "sha384-9XdHu7ajgGJziD4J1zNBKQ842Q/+zZfDv+ib1eMhZWBH6hPAs806x+Jbcf0yNO6B",
    ),
    Asset(
        "graphiql.css",
        "graphiql",
        "4.1.2",
        "graphiql.min.css",
        "sha384-1el1QShFBnnXTx9x/Cprg82hZWKt0ry29OAYIXt05swbi0KcZDFoj0CWguMpopJr",
    ),
    Asset(
        "explorer.js",
        "@graphiql/plugin-explorer",
        "4.0.6",
        "dist/index.umd.js",
        "sha384-gXYG2RCFRuAiKUaKTbKxOVlvr0U9z0D/V/l5jdvRSH46vQ+9cpkG2d3ByiggUYvD",
    ),
    Asset(
        "explorer.css",
        "@graphiql/plugin-explorer",
        "4.0.6",
        "dist/style.css",
        "sha384-XffIsImDMwexX8UM/Bg3tss0MZOeQmZcnHzk0avUrw9ff0IQ2g9j7QLA6m2lz5D0",
    ),
)

PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Bottleneck-Bots GraphiQL</title>
<link rel="icon" href="data:,">
{links}
<style nonce="{nonce}">html, body, #graphiql {{ height: 100%; margin: 0 }}</style>
</head>
<body>
<div id="graphiql"><noscript>GraphiQL needs JavaScript.</noscript></div>
<script type="application/json" id="settings" nonce="{nonce}">{settings}</script>
{scripts}
<script nonce="{nonce}">{start}</script>
</body>
</html>
"""

# Subscriptions take the headers of the editor along as the payload of connection_init, on a socket for each set of them.
START: Final = """
const settings = JSON.parse(document.getElementById("settings").textContent);
const url = new URL(settings.endpoint, location.href);
const socketUrl = new URL(url);
socketUrl.protocol = url.protocol === "https:" ? "wss:" : "ws:";
const overHttp = GraphiQL.createFetcher({ url: url.href, enableIncrementalDelivery: false });
const sockets = new Map();
function socketFor(headers) {
  const key = JSON.stringify(headers);
  if (!sockets.has(key)) {
    sockets.set(key, graphqlWs.createClient({ url: socketUrl.href, connectionParams: headers, lazy: true }));
  }
  return sockets.get(key);
}
function isSubscription(document, name) {
  return (document?.definitions ?? []).some((node) => node.kind === "OperationDefinition" &&
    node.operation === "subscription" && (!name || node.name?.value === name));
}
function fetcher(request, options) {
  if (isSubscription(options?.documentAST, request.operationName)) {
    return socketFor(options?.headers ?? {}).iterate(request);
  }
  return overHttp(request, options);
}
const headers = settings.token ? JSON.stringify({ Authorization: "Bearer " + settings.token }, null, 2) : undefined;
ReactDOM.createRoot(document.getElementById("graphiql")).render(React.createElement(GraphiQL, {
  fetcher,
  defaultHeaders: headers,
  defaultTabs: settings.tabs.length ? settings.tabs.map((tab) => ({ ...tab, headers })) : undefined,
  defaultEditorToolsVisibility: "variables",
  plugins: [GraphiQLPluginExplorer.explorerPlugin()],
}));
"""


def graphiql_page(*, token: str | None, tabs: Sequence[dict[str, Any]], endpoint: str = "/graphql") -> HTMLResponse:
    """The page. `tabs` are dicts with `title`, `query` and `variables` (an object, or JSON text).

    `token` is filled in as the bearer token of every tab; anybody who may load the page can read it, so it is for demos.
    """
    nonce = secrets.token_urlsafe(16)
    own = is_built()
    settings = {"endpoint": endpoint, "token": token, "tabs": [_tab(tab) for tab in tabs]}
    html = PAGE.format(
        nonce=nonce,
        links="\n".join(_link(asset, own=own) for asset in ASSETS if asset.name.endswith(".css")),
        scripts="\n".join(_script(asset, own=own, nonce=nonce) for asset in ASSETS if asset.name.endswith(".js")),
        settings=_json_in_html(settings),
        start=START,
    )
    return HTMLResponse(html, headers=_headers(nonce, own=own))


def graphiql_files() -> Mount:
    """The route of what the page loads."""
    return Mount(MOUNTED_AT, StaticFiles(directory=FOLDER, check_dir=False))


def is_built() -> bool:
    """Whether all files are here, so that nothing is loaded from elsewhere."""
    return all((FOLDER / asset.name).is_file() for asset in ASSETS)


def _headers(nonce: str, *, own: bool) -> dict[str, str]:
    # CodeMirror and the menus set styles on elements as they go, which a nonce cannot cover.
    styles = "'self' 'unsafe-inline'" if own else f"'unsafe-inline' {CDN}"
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src {styles}; img-src 'self' data:; font-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


def _tab(tab: dict[str, Any]) -> dict[str, Any]:
    variables = tab.get("variables")
    if variables is not None and not isinstance(variables, str):
        variables = json.dumps(variables, indent=2)
    return {"title": tab.get("title"), "query": tab["query"], "variables": variables}


def _json_in_html(value: object) -> str:
    # Nothing in the text may end the script element or begin a comment in it.
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _link(asset: Asset, *, own: bool) -> str:
    return f'<link rel="stylesheet" href="{_url(asset, own=own)}" integrity="{asset.integrity}" crossorigin="anonymous">'


def _script(asset: Asset, *, own: bool, nonce: str) -> str:
    url = _url(asset, own=own)
    return f'<script nonce="{nonce}" src="{url}" integrity="{asset.integrity}" crossorigin="anonymous"></script>'


def _url(asset: Asset, *, own: bool) -> str:
    return escape(f"{MOUNTED_AT}/{asset.name}" if own else asset.cdn_url)
