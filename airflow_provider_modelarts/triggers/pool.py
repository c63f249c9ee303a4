"""Threads in which triggers talk to the service: their own, bounded, and shared by all triggers of a connection (B5).

asyncio's default pool is small and belongs to everybody; a thousand triggers there poll late and hold up all others.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_modelarts.client.errors import ModelArtsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

T = TypeVar("T")

_Key = tuple[str, str | None]

# Connections are read once for each process: one thread is enough.
_LOOK_UP_THREADS = 1

# An on_kill has 30 s; it must not queue up behind a thousand polls of a service that hangs.
_ON_KILL_THREADS = 8


class _Pools:
    """The pools of this process: one for each connection and project, and two for special purposes."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: threads do not survive a fork."""
        self._lock = threading.Lock()
        self._pools: dict[_Key | str, ThreadPoolExecutor] = {}

    def known(self, key: _Key) -> ThreadPoolExecutor | None:
        with self._lock:
            return self._pools.get(key)

    def get(self, key: _Key | str, threads: int) -> ThreadPoolExecutor:
        with self._lock:
            if key not in self._pools:
                self._pools[key] = ThreadPoolExecutor(threads, thread_name_prefix="modelarts-poll")
            return self._pools[key]


_pools = _Pools()
os.register_at_fork(after_in_child=_pools.forget)


async def _in_thread(pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    """Run a blocking function in a pool's thread, with the caller's context: log lines find their task by it."""
    context = contextvars.copy_context()
    return await asyncio.wrap_future(pool.submit(context.run, function))


async def run(hook: ModelArtsHook, function: Callable[[], T]) -> T:
    """Run a blocking function in the pool of a connection, which has as many threads as the connection says.

    :param hook: names the connection; it is read in a thread too, once for each process
    :param function: what to run
    :return: what it returns
    """
    key = (hook.modelarts_conn_id, hook.project_id)
    pool = _pools.known(key)
    if pool is None:
        spare = _pools.get("look-up", _LOOK_UP_THREADS)
        try:
            shared = await _in_thread(spare, lambda: hook.shared)
        except ModelArtsError:
            # The function meets the same error, and knows what it means for its wait.
            pool = spare
        else:
            pool = _pools.get(key, shared.settings.poll_threads)
    return await _in_thread(pool, function)


async def run_at_once(function: Callable[[], T]) -> T:
    """Run a blocking function in threads that no poll uses."""
    return await _in_thread(_pools.get("on-kill", _ON_KILL_THREADS), function)
