# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The live view: subscribes to a controller and its robot, and shows both in a web page.

A node of its own, so that nothing of it runs in the control loop. Data go to a Rerun recording
that a server in this process offers; a child process serves the page, which reads from there. Both
bind to the loopback interface unless the parameter `bind` is set.
"""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import ctypes
from importlib.util import find_spec
import itertools
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry
import numpy as np
from proxy_snn_control.nodes.messages import SENSOR_DATA
from proxy_snn_control.nodes.process import declare, Parameter, run, STEADY, value_of
from proxy_snn_control.policy import UserError
from proxy_snn_control.policy.energy import PAPER
from proxy_snn_control.policy.files import check_target
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import UInt8MultiArray

PARAMETERS = (
    Parameter('controller', 'controller', "The controller's name, as topics begin with it."),
    Parameter(
        'env',
        '',
        'The Gymnasium MuJoCo task of the robot, as the node sim runs it: draws its model.',
    ),
    Parameter('urdf', '', "The robot's URDF file: draws the robot from joint_states."),
    Parameter('bind', '127.0.0.1', 'The address that page and data are served on.'),
    Parameter('port', 9090, 'The port of the page; data are on the next one.', low=1, high=65534),
    Parameter('record', '', 'A file (.rrd) for all that is shown, to be opened later.'),
    Parameter('rate', 10.0, 'Updates of the page a second.', low=0.1, high=60.0),
    Parameter('memory', 256, 'MiB of data kept for pages that open later.', low=16, high=65536),
)
# Of a plot's lines, in turn; Rerun's own may come twice among the first four.
COLOURS = (0x1F77B4FF, 0xFF7F0EFF, 0x2CA02CFF, 0xD62728FF, 0x9467BDFF, 0x8C564BFF, 0xE377C2FF)
# Time steps of a raster's width.
RASTER_STEPS = 300
LAYERS = 4  # of rasters on the page until spikes come: encoder, two hidden layers, output
RASTER_SECONDS = 0.25  # between two pictures: not more than a network carries
# What a subscriber keeps between two updates: a second at 1 kHz.
MOST_ROWS = 1000
PR_SET_PDEATHSIG = 1


class Series:
    """Rows of numbers that are logged together: one line in a plot for each name."""

    def __init__(self, recording: Any, path: str) -> None:
        self._recording, self._path = recording, path
        self._names: list[str] = []
        self._times: list[float] = []
        self._rows: list[list[float]] = []

    def add(self, names: Sequence[str], row: Sequence[float]) -> None:
        """Keep a row that was received now."""
        import rerun as rr

        if list(names) != self._names:
            self.flush()
            self._names = list(names)
            colours = [COLOURS[i % len(COLOURS)] for i in range(len(self._names))]
            lines = rr.SeriesLines(names=self._names, colors=colours)
            self._recording.log(self._path, lines, static=True)
        if len(self._rows) < MOST_ROWS:
            self._times.append(time.time())
            self._rows.append(list(row))

    def flush(self) -> None:
        """Log the rows that were kept."""
        import rerun as rr

        if self._rows:
            times = rr.TimeColumn('time', timestamp=self._times)
            columns = rr.Scalars.columns(scalars=np.array(self._rows))
            self._recording.send_columns(self._path, [times], columns)
            self._times, self._rows = [], []


class Rasters:
    """The last time steps of every layer's spikes, as pictures: a row for each neuron."""

    def __init__(self, recording: Any) -> None:
        self._recording = recording
        self._layers: list[np.ndarray] = []
        self._changed, self._next = False, 0.0

    def add(self, layers: Sequence[np.ndarray]) -> None:
        """Append the spikes of an action, per layer [T, neurons]."""
        sizes = [layer.shape[1] for layer in layers]
        if sizes != [len(each) for each in self._layers]:
            self._layers = [np.zeros((size, RASTER_STEPS), np.uint8) for size in sizes]
        for kept, layer in zip(self._layers, layers, strict=True):
            new = layer[-RASTER_STEPS:].T
            steps = new.shape[1]
            kept[:, :-steps] = kept[:, steps:]
            kept[:, -steps:] = new * 255
        self._changed = True

    def flush(self) -> None:
        """Log the pictures if there is something new, and they are due."""
        import rerun as rr

        now = time.monotonic()
        if self._changed and now >= self._next:
            self._changed, self._next = False, now + RASTER_SECONDS
            for i, layer in enumerate(self._layers):
                # Repeated, so that a layer of few neurons is no thin line.
                picture = np.repeat(layer, max(1, 180 // len(layer)), axis=0)
                self._recording.log(f'spikes/layer_{i}', rr.Image(picture, color_model='L'))


class View(Node):
    """Collects what is published, and logs it to the recording a few times a second."""

    def __init__(self) -> None:
        super().__init__('view')
        self.exit_status: int | None = None
        self._server: subprocess.Popen[bytes] | None = None
        declare(self, PARAMETERS)
        os.environ['RERUN_ANALYTICS'] = '0'
        try:
            import rerun as rr
        except ModuleNotFoundError as error:
            raise UserError(
                "the Python module 'rerun' is not installed: pip install 'proxy_snn_control[view]'"
            ) from error
        self._recording: Any = rr.RecordingStream('proxy_snn_control')
        self._controller = value_of(self, 'controller')
        paths = 'observation', 'action', 'joints', 'rates', 'energy', 'latency', 'commands'
        self._series = {path: Series(self._recording, path) for path in paths}
        self._rasters, self._layers = Rasters(self._recording), LAYERS
        self._drawing = self._make_drawing()
        self._logged = ''
        self._image: Image | None = None

    def start(self) -> None:
        """Serve the page, and write the file of all that is shown."""
        self._serve()
        self._subscribe()
        self.create_timer(1 / value_of(self, 'rate'), self._on_update, clock=STEADY)

    def close(self) -> None:
        """End the page's server; the recording's file gets its end."""
        if self._server is not None:
            self._server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(2.0)
        if hasattr(self, '_recording'):
            self._recording.disconnect()

    # ---- serving

    def _serve(self) -> None:
        import rerun as rr

        bind, port, record = (value_of(self, name) for name in ('bind', 'port', 'record'))
        limit = f'{value_of(self, "memory")}MiB'
        for number in (port, port + 1):  # Rerun only logs what goes wrong here
            try:
                with socket.create_server((bind, number)):
                    pass
            except OSError as error:
                raise UserError(
                    f'the view cannot be served on {bind}:{number}: {error.strerror or error} '
                    '(parameters bind and port)'
                ) from error
        sinks: list[Any] = [rr.GrpcServerSink(bind, port + 1, server_memory_limit=limit)]
        if record:
            check_target(record)
            sinks.append(rr.FileSink(record))
        self._recording.set_sinks(*sinks, default_blueprint=self._blueprint(LAYERS))
        # Beside the module: the command `rerun` is a wrapper that leaves its child behind.
        found = find_spec('rerun_cli')
        program = Path(((found and found.submodule_search_locations) or [''])[0]) / 'rerun'
        uri = f'rerun+http://{bind}:{port + 1}/proxy'
        self._server = subprocess.Popen(
            [
                str(program),
                '--serve-web',
                *('--bind', bind, '--web-viewer-port', str(port), uri),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_belong_to_the_node,
        )
        self._page = f'http://{bind}:{port}/?url={uri}'.replace('+', '%2B')
        self.get_logger().info(f'the view is on {self._page}')
        if record:
            self.get_logger().info(f'recorded to {record}; rerun {record} opens it later')

    def _blueprint(self, layers: int) -> Any:
        return _blueprint(self._drawing.extent if self._drawing is not None else 2.0, layers)

    def _subscribe(self) -> None:
        name = self._controller
        observation, action = self._series['observation'], self._series['action']
        topics = (
            (JointState, f'{name}/observation', lambda m: observation.add(m.name, m.position)),
            (JointState, f'{name}/action', lambda m: action.add(m.name, m.position)),
            (UInt8MultiArray, f'{name}/spikes', self._on_spikes),
            (JointState, 'joint_states', self._on_joints),
            (Odometry, 'odometry', self._on_odometry),
            (Image, 'image', self._on_image),
        )
        for kind, topic, callback in topics:
            self.create_subscription(kind, topic, callback, SENSOR_DATA)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def _make_drawing(self) -> Any:
        env, urdf = value_of(self, 'env'), value_of(self, 'urdf')
        if env and urdf:
            raise UserError('parameters env and urdf are both given, expected one of them')
        if not (env or urdf):
            return None
        from proxy_snn_control.nodes import drawing

        return (
            (drawing.Model(self._recording, env)) if env else drawing.Urdf(self._recording, urdf)
        )

    # ---- messages

    def _on_spikes(self, message: UInt8MultiArray) -> None:
        flat, at, layers = np.frombuffer(message.data, np.uint8), 0, []
        for dimension in message.layout.dim:
            end = at + dimension.stride
            if dimension.size < 1 or end > len(flat):
                return
            layers.append(flat[at:end].reshape(-1, dimension.size))
            at = end
        if not layers:
            return
        self._rasters.add(layers)
        if len(layers) != self._layers:
            self._layers = len(layers)
            self._recording.send_blueprint(self._blueprint(self._layers))
        names = [f'layer {i}' for i in range(len(layers))]
        self._series['rates'].add(names, [float(layer.mean()) for layer in layers])
        operations = sum(
            int(before.sum()) * after.shape[1] for before, after in itertools.pairwise(layers)
        )
        energy = operations * PAPER.synaptic_operation * 1e9
        self._series['energy'].add(['nJ per command'], [energy])

    def _on_joints(self, message: JointState) -> None:
        if len(message.position) == len(message.name):
            self._series['joints'].add(message.name, message.position)
            if self._drawing is not None:
                self._drawing.joints(dict(zip(message.name, message.position, strict=True)))

    def _on_odometry(self, message: Odometry) -> None:
        if self._drawing is not None:
            at, turn = message.pose.pose.position, message.pose.pose.orientation
            self._drawing.base([at.x, at.y, at.z, turn.w, turn.x, turn.y, turn.z])

    def _on_image(self, message: Image) -> None:
        self._image = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        import rerun as rr

        for status in message.status:
            if status.name.rsplit('/', 1)[-1] != self._controller.rsplit('/', 1)[-1]:
                continue
            values = {pair.key: pair.value for pair in status.values}
            for path, keys in (
                ('latency', ('latency_median_ms', 'latency_99_ms')),
                ('commands', ('commands_per_second', 'safe_commands', 'missed_deadlines')),
            ):
                if all(number_of(values.get(key)) is not None for key in keys):
                    self._series[path].add(keys, [float(values[key]) for key in keys])
            levels = {DiagnosticStatus.OK: 'INFO', DiagnosticStatus.WARN: 'WARN'}
            if status.message != self._logged:
                self._logged = status.message
                level = levels.get(status.level, 'ERROR')
                self._recording.set_time('time', timestamp=time.time())
                self._recording.log('log', rr.TextLog(status.message, level=level))
            rows = ''.join(f'| {key} | {value} |\n' for key, value in values.items() if value)
            text = f'**{status.message}**\n\n| | |\n|---|---|\n{rows}'
            document = rr.TextDocument(text, media_type='text/markdown')
            self._recording.set_time('time', timestamp=time.time())
            self._recording.log('diagnostics', document)

    def _on_update(self) -> None:
        import rerun as rr

        self._recording.set_time('time', timestamp=time.time())
        for series in self._series.values():
            series.flush()
        self._rasters.flush()
        if self._drawing is not None:
            self._drawing.flush()
        if self._image is not None:
            message, self._image = self._image, None
            if message.encoding == 'rgb8' and len(message.data) == message.height * message.step:
                rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
                shape = message.height, message.width, 3
                picture = rows[:, : 3 * message.width].reshape(shape)
                self._recording.log('image', rr.Image(picture).compress(jpeg_quality=80))
        if self._server is not None and self._server.poll() is not None:
            port = value_of(self, 'port')
            raise UserError(
                f"the page's server ended with status {self._server.returncode}; is port {port} "
                'in use? expected a free one (parameter port)'
            )


def number_of(text: str | None) -> float | None:
    """Return the finite number that a diagnostics value is, or None."""
    try:
        number = float(text or '')
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _blueprint(extent: float, layers: int) -> Any:
    """Return the page's layout, for a robot of this size in metres and so many spiking layers."""
    import rerun.blueprint as rrb

    def plot(name: str, path: str) -> Any:
        return rrb.TimeSeriesView(name=name, origin=path)

    eye = rrb.EyeControls3D(
        position=(0.3 * extent, -1.2 * extent, 0.6 * extent), look_target=(0.0, 0.0, 0.2 * extent)
    )
    robot = rrb.Tabs(
        rrb.Spatial3DView(name='robot', origin='robot', eye_controls=eye),
        rrb.Spatial2DView(name='camera', origin='image'),
    )
    rasters = [
        rrb.Spatial2DView(name=f'spikes, layer {i}', origin=f'spikes/layer_{i}')
        for i in range(layers)
    ]
    left = rrb.Vertical(
        robot, plot('observation', 'observation'), plot('action', 'action'), row_shares=[3, 2, 2]
    )
    middle = rrb.Vertical(*rasters)
    right = rrb.Vertical(
        plot('firing rate of each layer', 'rates'),
        plot('energy [nJ]', 'energy'),
        plot('latency [ms]', 'latency'),
        rrb.TextLogView(name='faults and findings', origin='log'),
        rrb.Tabs(
            rrb.TextDocumentView(name='diagnostics', origin='diagnostics'),
            plot('joints', 'joints'),
            plot('commands', 'commands'),
        ),
    )
    return rrb.Blueprint(rrb.Horizontal(left, middle, right), collapse_panels=True)


def _belong_to_the_node() -> None:
    """In the child: leave a terminal's Ctrl-C to the node; end when it does, kill -9 included."""
    os.setpgrp()
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def main(arguments: Sequence[str]) -> int:
    """Run the view node."""
    return run(View, arguments, View.start)
