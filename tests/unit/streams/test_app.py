"""The app before it is started: what of Faust is left out."""

import asyncio

from schemas.clock import SystemClock
from streams.app import make_app
from streams.worker_config import WorkerConfig


def test_no_second_is_spent_on_tables_that_there_are_not() -> None:
    async def start() -> None:
        app = make_app(WorkerConfig(), SystemClock())
        async with asyncio.timeout(5):
            await app.tables.sleep(60.0)

    asyncio.run(start())
