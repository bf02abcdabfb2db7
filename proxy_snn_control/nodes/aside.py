# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What may take long is done beside the control loop's thread: reading files, above all.

A network drive that does not answer keeps its reader waiting for minutes. Meanwhile commands, the
stop and signals must go on, and a process that is to end must not wait for that thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
import queue
import threading
import time
from typing import Any

from proxy_snn_control.nodes.process import unsent
from proxy_snn_control.policy import UserError
from rclpy.node import Node

Work = Callable[[], Any]

# What takes longer than this, in seconds, is reported.
SLOW = 2.0


class Aside:
    """A thread that does one thing after the other; the process does not wait for it to end."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name='aside', daemon=True).start()

    def do(self, work: Work) -> Future[Any]:
        """Do this after all earlier requests; the future gets what it returns or raises."""
        future: Future[Any] = Future()
        self._queue.put((work, future))
        return future

    def leave(self) -> None:
        """Let the thread end when it has done what it is at, however long that takes."""
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            work, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)


class LateService:
    """A service that is answered when work in another thread is done, in the order of requests.

    rclpy's own way to answer later is a coroutine. For as long as one waits, the EventsExecutor
    runs at full load (rclpy 9.1), and the others run no other callback of the node.
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        name: str,
        begin: Callable[[], Work],
        end: Callable[[Any], str],
        on_defect: Callable[[Exception], None],
    ) -> None:
        """Offer the service.

        Args:
            node: whose it is.
            kind: std_srvs/Trigger, or another whose response has `success` and `message`.
            name: the service's.
            begin: called at a request, gives what is then done in the thread.
            end: called with what that returned, in the executor's thread again; gives the message
                of the answer. Of a UserError that any of the three raises the answer is made.
            on_defect: called there with any other exception.
        """
        self._node, self._label = node, name.removeprefix('~/')
        self._begin, self._end, self._on_defect = begin, end, on_defect
        self._aside: Aside | None = None
        self._waiting: list[tuple[Future[Any], Any, float]] = []
        self._headers: dict[int, Any] = {}
        service = node.create_service(kind, name, self._on_request)
        self._send = service.send_response
        # An executor sends what the callback returned; here it goes when it is complete.
        service.send_response = self._on_returned  # type: ignore[method-assign]

    def waiting(self, now: float) -> float:
        """For how many seconds the first of the waiting callers has waited; 0 if there is none."""
        return now - self._waiting[0][2] if self._waiting else 0.0

    def drop(self, why: str) -> None:
        """Answer all who wait that it came to nothing; what is being done for them is left."""
        waiting, self._waiting = self._waiting, []
        for future, response, _ in waiting:
            future.cancel()
            self._refuse(response, why)
            self._answer(response)
        if self._aside is not None:
            self._aside.leave()
        self._aside = None

    def _on_request(self, request: Any, response: Any) -> Any:
        try:
            work = self._begin()
        except UserError as error:
            self._refuse(response, error)
            return response  # and `_on_returned` sends it
        if self._aside is None:
            self._aside = Aside()
        future = self._aside.do(work)
        self._waiting.append((future, response, time.monotonic()))
        future.add_done_callback(self._on_done)
        return response

    def _on_returned(self, response: Any, header: Any) -> None:
        if any(response is each for _, each, _ in self._waiting):
            self._headers[id(response)] = header
        else:
            self._send(response, header)

    def _on_done(self, future: Future[Any]) -> None:
        executor = self._node.executor
        if executor is not None and not future.cancelled():
            executor.create_task(self._on_end)

    def _on_end(self) -> None:
        try:
            while self._waiting and self._waiting[0][0].done():
                future, response, _ = self._waiting.pop(0)
                try:
                    response.message = self._end(future.result())
                    response.success = True
                except UserError as error:
                    self._refuse(response, error)
                self._answer(response)
        except Exception as error:  # in a task, which an executor does not survive raising it
            self._on_defect(error)

    def _answer(self, response: Any) -> None:
        try:
            self._send(response, self._headers.pop(id(response)))
        except RuntimeError as error:
            self._node.get_logger().error(f'an answer is lost: {unsent(error)}')

    def _refuse(self, response: Any, why: object) -> None:
        self._node.get_logger().error(f'{self._label}: {why}')
        response.success, response.message = False, str(why)
