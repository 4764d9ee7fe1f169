"""Time that functions take within a job, found by putting timed ones in their place while it runs on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

Place = tuple[Any, str]
"""A module or class, and the name of a function in it."""


class Stopwatch:
    """CPU seconds by stage. Within another, a stage stops the other's time."""

    def __init__(self, rest: str) -> None:
        self.seconds: dict[str, float] = {rest: 0.0}
        self._running = [rest]
        self._since = 0.0

    @contextmanager
    def watching(self, stages: Mapping[str, Sequence[Place]]) -> Iterator[None]:
        """Times the functions of each stage, and as the rest whatever else happens."""
        self.seconds = {**dict.fromkeys(stages, 0.0), **self.seconds}
        with ExitStack() as undo:
            for stage, places in stages.items():
                for owner, name in places:
                    found = vars(owner)[name]
                    undo.callback(setattr, owner, name, found)
                    setattr(owner, name, self._timed(stage, found, owner))
            self._since = time.thread_time()
            yield
            self._stop()

    def _stop(self) -> None:
        now = time.thread_time()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def _timed(self, stage: str, found: Any, owner: Any) -> Any:
        is_classmethod = isinstance(found, classmethod)
        function: Callable[..., Any] = found.__get__(None, owner) if is_classmethod else found

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._stop()
            self._running.append(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self._stop()
                self._running.pop()

        return staticmethod(timed) if is_classmethod else timed
