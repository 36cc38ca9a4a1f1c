"""The page of GraphiQL and what it loads."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from graph.transports import build_graphiql, graphiql
from graph.transports.graphiql import Asset, graphiql_files, graphiql_page

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 & ' \""


def settings_of(html: str) -> dict[str, object]:
    text = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html)
    assert text is not None
    assert not set(text[1]) & set("<>&")
    settings: dict[str, object] = json.loads(text[1])
    return settings


def test_the_page_carries_the_token_and_the_tabs_whatever_is_in_them() -> None:
    tabs: list[dict[str, Any]] = [{"title": HOSTILE, "query": HOSTILE, "variables": {"a": HOSTILE}}, {"query": "{ hello }"}]
    html = bytes(graphiql_page(token=HOSTILE, tabs=tabs).body).decode()
    assert "alert(1)</script>" not in html
    settings = settings_of(html)
    assert settings["token"] == HOSTILE
    assert settings["tabs"] == [
        {"title": HOSTILE, "query": HOSTILE, "variables": json.dumps({"a": HOSTILE}, indent=2)},
        {"title": None, "query": "{ hello }", "variables": None},
    ]


def test_only_scripts_of_this_page_run() -> None:
    first, second = (graphiql_page(token=None, tabs=[]) for _ in range(2))
    policy = first.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce is not None
    assert policy != second.headers["content-security-policy"]
    html = bytes(first.body).decode()
    assert all(f'nonce="{nonce[1]}"' in tag for tag in re.findall(r"<script[^>]*>", html))
    assert "unsafe-eval" not in policy
    assert "default-src 'none'" in policy


def test_without_the_files_the_page_loads_them_from_a_cdn_by_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphiql, "FOLDER", tmp_path)
    response = graphiql_page(token=None, tabs=[])
    html = bytes(response.body).decode()
    tags = re.findall(r"<(?:script|link)[^>]*(?:src|href)=\"(https://[^\"]+)\"[^>]*>", html)
    assert len(tags) == len(graphiql.ASSETS)
    assert all(re.search(r"@\d+\.\d+\.\d+/", url) for url in tags)
    assert html.count('integrity="sha384-') == html.count('crossorigin="anonymous"') == len(graphiql.ASSETS)
    assert "https://cdn.jsdelivr.net" in response.headers["content-security-policy"]


async def test_with_the_files_nothing_is_loaded_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for asset in graphiql.ASSETS:
        (tmp_path / asset.name).write_text(asset.name)
    monkeypatch.setattr(graphiql, "FOLDER", tmp_path)
    response = graphiql_page(token=None, tabs=[])
    html = bytes(response.body).decode()
    assert "https://" not in re.sub(r"<script nonce=\"[^\"]+\">.*</script>", "", html, flags=re.DOTALL)
    assert "https://" not in response.headers["content-security-policy"]
    transport = httpx.ASGITransport(Starlette(routes=[graphiql_files()]))
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
        for url in re.findall(r'(?:src|href)="(/graphiql/[^"]+)"', html):
            assert (await client.get(url)).text == url.rpartition("/")[2]
        assert (await client.get("/graphiql/%2e%2e/graphiql.py")).status_code == 404


def test_building_keeps_right_files_and_refuses_wrong_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    integrity = "sha384-" + base64.b64encode(hashlib.sha384(b"right").digest()).decode()
    asset = Asset("a.js", "a", "1.0.0", "a.js", integrity)
    monkeypatch.setattr(build_graphiql, "ASSETS", (asset,))
    (tmp_path / "a.js").write_bytes(b"right")
    monkeypatch.setenv("PATH", "")  # no npm
    assert build_graphiql.build(tmp_path)
    (tmp_path / "a.js").write_bytes(b"wrong")
    assert not build_graphiql.build(tmp_path)
