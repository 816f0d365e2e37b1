"""Outcomes of other threads: each future gets its own, with few wake-ups of the loop."""

from __future__ import annotations

import asyncio
import threading

from runtimes.server.outcomes import Outcomes


def test_each_future_gets_its_own() -> None:
    async def run() -> None:
        loop, outcomes = asyncio.get_running_loop(), Outcomes()
        futures = [loop.create_future() for _ in range(200)]
        futures[7].cancel()  # whoever left: nothing is set

        def put(share: int) -> None:
            for index in range(share, 200, 4):
                outcomes.put(futures[index], ValueError(index) if index % 10 == 3 else None, index)

        threads = [threading.Thread(target=put, args=(share,)) for share in range(4)]
        for thread in threads:
            thread.start()
        found = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 10)
        for index, outcome in enumerate(found):
            if index == 7:
                assert isinstance(outcome, asyncio.CancelledError)
            elif index % 10 == 3:
                assert isinstance(outcome, ValueError)
                assert outcome.args == (index,)
            else:
                assert outcome == index

    asyncio.run(run())


def test_what_comes_together_wakes_the_loop_once() -> None:
    async def run() -> None:
        loop, outcomes = asyncio.get_running_loop(), Outcomes()
        futures = [loop.create_future() for _ in range(50)]
        wakes = 0
        wake = loop.call_soon_threadsafe

        def counted(*given: object) -> object:
            nonlocal wakes
            wakes += 1
            return wake(*given)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = counted  # type: ignore[assignment,method-assign]
        for index, future in enumerate(futures):
            outcomes.put(future, None, index)
        assert await asyncio.gather(*futures) == list(range(50))
        assert wakes == 1

    asyncio.run(run())
