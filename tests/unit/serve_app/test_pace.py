from __future__ import annotations

import asyncio
import time

from serve_app.pace import Pace

LONG_S = 0.025


def test_sockets_are_looked_at_between_long_pieces_of_work() -> None:
    async def scenario() -> list[float]:
        loop, pace = asyncio.get_running_loop(), Pace()

        async def work() -> None:
            await pace.turn()
            time.sleep(LONG_S)

        gaps, last = [], loop.time()
        works = [asyncio.create_task(work()) for _ in range(5)]
        while not all(each.done() for each in works):
            await asyncio.sleep(0)  # one turn of the loop
            now = loop.time()
            gaps.append(now - last)
            last = now
        return gaps

    gaps = asyncio.run(scenario())
    assert len([gap for gap in gaps if gap > LONG_S / 2]) == 5


def test_turns_come_in_the_order_in_which_they_are_asked_for() -> None:
    async def scenario() -> list[int]:
        pace, order = Pace(), []

        async def work(n: int) -> None:
            await pace.turn()
            time.sleep(0.003)
            order.append(n)

        await asyncio.gather(*(work(n) for n in range(10)))
        return order

    assert asyncio.run(scenario()) == list(range(10))


def test_one_who_gives_up_keeps_nobody_waiting() -> None:
    async def scenario() -> int:
        pace, worked = Pace(), 0

        async def work() -> None:
            nonlocal worked
            await pace.turn()
            time.sleep(LONG_S)
            worked += 1

        tasks = [asyncio.create_task(work()) for _ in range(10)]
        await asyncio.sleep(0)
        for task in tasks[2:8]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait_for(work(), 1)
        return worked

    assert asyncio.run(scenario()) == 5


def test_short_pieces_of_work_do_not_wait() -> None:
    async def scenario() -> bool:
        pace = Pace()
        for _ in range(100):
            turn = asyncio.create_task(pace.turn())
            await asyncio.sleep(0)
            if not turn.done():
                return False
        return True

    assert asyncio.run(scenario())


def test_several_connections_are_accepted_between_two_long_pieces_of_work() -> None:
    async def scenario() -> int:
        pace, looks = Pace(), 0

        async def work() -> None:
            await pace.turn()
            time.sleep(LONG_S)

        works = [asyncio.create_task(work()) for _ in range(5)]
        while not all(each.done() for each in works):
            await asyncio.sleep(0)
            looks += 1
        return looks

    assert asyncio.run(scenario()) > 5 * 10
