import time
from tests.graph.test_api_webhooks import listening
from tests.graph.test_api_webhooks import *
async def test_dump(shared_house):
    for _ in range(4):
        t=time.perf_counter(); await listening(shared_house); print(time.perf_counter()-t)
    for r in (await shared_house.control("GET","/requests"))[-30:] if isinstance(await shared_house.control("GET","/requests"), list) else (await shared_house.control("GET","/requests"))["requests"][-30:]: print(str(r)[:200])
    assert 0
