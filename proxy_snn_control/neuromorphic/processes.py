# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Lava's runtime with processes that end with ours, and with anonymous shared memory.

Lava runs every process model in an operating system's process that it forks; they exchange
messages through shared memory. In Lava itself, a `kill -9` of the process that started them leaves
them waiting for ever, and their memory in /dev/shm. Here
- the kernel kills a forked process when the thread that started it ends, for whatever reason
  (prctl, PR_SET_PDEATHSIG), so a network must be started from a thread that runs as long;
- shared memory is anonymous: it is mapped before the fork and freed with the last process that
  maps it. No names can remain, and no server process of the standard library is needed;
- a process that ends too early is detected while its answer is waited for.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
import ctypes
import mmap
import os
from queue import Empty
import signal
from typing import Any
import warnings

from lava.magma.compiler.channels.pypychannel import CspRecvPort
from lava.magma.core.process.message_interface_enum import ActorType
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.runtime.message_infrastructure.multiprocessing import MultiProcessing
from lava.magma.runtime.runtime import Runtime

PR_SET_PDEATHSIG = 1
LOOK_AFTER_SECONDS = 0.2


class NetworkError(RuntimeError):
    """A process of the network has ended before its work was done."""


class _Memory:
    """Anonymous shared memory, as much of the standard library's class as Lava uses."""

    def __init__(self, size: int) -> None:
        self.buf = memoryview(mmap.mmap(-1, max(size, 1)))


class _MemoryManager:
    """What Lava uses of a SharedMemoryManager, without its server process."""

    def create_shared_memory(self, size: int) -> _Memory:
        return _Memory(size)

    def shutdown(self) -> None:
        """Do nothing: the kernel frees memory that no process maps."""


class _Messages(MultiProcessing):
    """Processes that end with the one that started them."""

    def start(self) -> None:
        self._smm = _MemoryManager()

    def build_actor(self, target_fn: Callable[..., None], builder: Any, exception_q: Any) -> Any:
        parent = os.getpid()

        def ends_with_parent(**arguments: Any) -> None:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it ended before prctl was called
                os._exit(1)
            # Ctrl-C is for the process that started this one, and that ends it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            target_fn(**arguments)

        return super().build_actor(ends_with_parent, builder, exception_q)


class _Runtime(Runtime):
    """Lava's runtime with the messaging of this file."""

    def _build_message_infrastructure(self) -> None:
        self._messaging_infrastructure = _Messages()
        self._messaging_infrastructure.start()


class RunningNetwork:
    """A network of Lava processes that runs, some time steps at a time."""

    def __init__(self, process: AbstractProcess, models: dict[type, type]) -> None:
        """Compile all processes connected to `process`, and start them.

        Args:
            process: any process of the network.
            models: the process model of each kind of process.
        """
        with warnings.catch_warnings():
            # Lava looks for models in all modules beside a process's, as if in no package.
            warnings.simplefilter('ignore')
            executable = process.compile(Loihi2SimCfg(exception_proc_model_map=models))
        self._runtime = _Runtime(executable, ActorType.MultiProcessing)
        executable.assign_runtime_to_all_processes(self._runtime)
        try:
            self._runtime.initialize()
        except BaseException:
            for actor in self._runtime._messaging_infrastructure.actors:
                actor.kill()
            raise
        # Lava does not close the pipes to its processes' ports, each of which has a thread here.
        ports = [
            port for each in executable.proc_builders for port in (*each.in_ports, *each.out_ports)
        ]
        names = 'external_pipe_csp_send_port', 'external_pipe_csp_recv_port'
        self._pipes = [
            getattr(port, name) for port in ports for name in names if hasattr(port, name)
        ]
        self._actors = list(self._runtime._messaging_infrastructure.actors)
        self._running = False
        # Before the standard library waits at the end of our process for its children's.
        atexit.register(self.close)

    def run(self, steps: int) -> None:
        """Start that many time steps, once those before are over; does not wait for them."""
        if self._running:
            self.wait_for(self._runtime.service_to_runtime[0])
            self._runtime.wait()
        self._runtime.start(RunSteps(num_steps=steps, blocking=False))
        self._running = True

    def wait_for(self, port: CspRecvPort) -> None:
        """Wait until a port has a message.

        Raises:
            NetworkError: a process of the network ended meanwhile.
        """
        while True:
            try:
                port._queue.get(timeout=LOOK_AFTER_SECONDS, peek=True)
                return
            except Empty:
                if not all(actor.is_alive() for actor in self._actors):
                    raise NetworkError('a process of the Lava network has ended') from None

    def close(self) -> None:
        """End all processes. They have nothing to save, so they are killed."""
        atexit.unregister(self.close)
        if not self._actors:
            return
        for actor in self._actors:
            actor.kill()
        self._actors = []
        for pipe in self._pipes:
            pipe.join()
        self._runtime._is_started = False  # or Lava would request a stop, and wait for an answer
        self._runtime.join()
        self._runtime.stop()
