"""Threads in which triggers send their requests: bounded, and shared by all triggers of a connection (B5).

asyncio's default pool is small and shared with everybody: a thousand triggers there poll late and delay all others.
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
    from concurrent.futures import Future

    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

T = TypeVar("T")

_Key = tuple[str, str | None]

# All that wait for a connection share one reading of it: one thread is enough.
_LOOK_UP_THREADS = 1

# An on_kill has 30 s; it must not queue behind a thousand polls of a service that hangs.
_ON_KILL_THREADS = 8


class _Pools:
    """The pools of this process: one for each connection and project, one for look-ups and one for ``on_kill``."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget all pools: threads do not survive a fork."""
        self._lock = threading.Lock()
        self._pools: dict[_Key | str, tuple[int, ThreadPoolExecutor]] = {}

    def submit(self, key: _Key | str, threads: int, function: Callable[[], T]) -> Future[T]:
        """Run a function in a pool; the pool is replaced if its number of threads has changed."""
        with self._lock:
            size, pool = self._pools.get(key, (0, None))
            if pool is None or size != threads:
                if pool is not None:
                    pool.shutdown(wait=False)  # what was submitted is still done
                pool = ThreadPoolExecutor(threads, thread_name_prefix="modelarts-poll")
                self._pools[key] = threads, pool
            return pool.submit(function)


_pools = _Pools()
os.register_at_fork(after_in_child=_pools.forget)


async def _in_thread(key: _Key | str, threads: int, function: Callable[[], T]) -> T:
    """Run a blocking function in a pool's thread, with the caller's context: log lines find their task by it."""
    context = contextvars.copy_context()
    return await asyncio.wrap_future(_pools.submit(key, threads, lambda: context.run(function)))


async def run(hook: ModelArtsHook, function: Callable[[], T]) -> T:
    """Run a blocking function in the pool of the hook's connection, which has as many threads as that says.

    If the connection has to be read first, that is done in a thread that no poll uses.
    """
    settings = hook.known_settings
    if settings is None:
        try:
            settings = await _in_thread("look-up", _LOOK_UP_THREADS, lambda: hook.settings)
        except ModelArtsError:
            # The function gets the same error, and knows what it means for its wait.
            return await _in_thread("look-up", _LOOK_UP_THREADS, function)
    return await _in_thread((hook.modelarts_conn_id, hook.project_id), settings.poll_threads, function)


async def run_at_once(function: Callable[[], T]) -> T:
    """Run a blocking function in threads that no poll uses."""
    return await _in_thread("on-kill", _ON_KILL_THREADS, function)
