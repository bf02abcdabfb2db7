# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The live view on real processes: what it serves, where, what it records, and the page itself."""

import os
from pathlib import Path
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

from conftest import NodeProcess, Stage
from diagnostic_msgs.msg import DiagnosticArray
from proxy_snn_control.nodes.messages import SENSOR_DATA
from proxy_snn_control.policy import load_policy
import pytest
import rerun_cli
from sensor_msgs.msg import JointState

CHEETAH = Path(__file__).parents[1] / 'benchmarks' / 'policies' / 'lif-HalfCheetah-v4.safetensors'
RERUN = Path(next(iter(rerun_cli.__path__))) / 'rerun'


def two_free_ports() -> int:
    """Return the first of two neighbours that are free."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(('127.0.0.1', 0))
            port = one.getsockname()[1]
            try:
                two.bind(('127.0.0.1', port + 1))
            except OSError:
                continue
            return port


def start_view(stage: Stage, **parameters: object) -> tuple[NodeProcess, int]:
    port = two_free_ports()
    stage.start('sim', env='HalfCheetah-v4', mode='realtime')
    stage.start('controller', policy=CHEETAH, autostart='true')
    view = stage.start('view', env='HalfCheetah-v4', port=port, **parameters)
    assert stage.until(lambda: f'127.0.0.1:{port}/?url=' in view.output), view.output
    return view, port


def listening_addresses(port: int) -> set[str]:
    """Return the local addresses that are bound to a port, as the kernel lists them."""
    found = set()
    for name in ('tcp', 'tcp6'):
        for line in Path(f'/proc/net/{name}').read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, number = local.split(':')
            if int(number, 16) == port and state == '0A':
                found.add(address)
    return found


def test_what_is_shown_is_served_on_loopback_and_recorded(stage: Stage) -> None:
    record = stage.folder / 'view.rrd'
    observations = stage.subscribe(JointState, 'controller/observation', SENSOR_DATA)
    actions = stage.subscribe(JointState, 'controller/action', SENSOR_DATA)
    view, port = start_view(stage, record=record)
    spec = load_policy(CHEETAH).spec
    assert stage.until(lambda: bool(observations and actions)), stage.outputs()
    assert observations[-1].name == list(spec.observation_names)
    assert actions[-1].name == list(spec.action_names)
    assert len(actions[-1].position) == spec.action_size
    assert stage.until(lambda: bool(listening_addresses(port)))
    loopback = '0100007F'
    assert listening_addresses(port) == listening_addresses(port + 1) == {loopback}
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=10) as page:
        assert b'<html' in page.read().lower()
    reports = stage.subscribe(DiagnosticArray, '/diagnostics')
    assert stage.until(lambda: sum(each.status[0].name == '/controller' for each in reports) > 2)
    stage.spin(0.5)
    # Ctrl-C, as a terminal sends it to the whole group; the others in it end before the node does.
    view.process.send_signal(signal.SIGSTOP)
    os.killpg(view.process.pid, signal.SIGINT)
    stage.spin(0.5)
    view.process.send_signal(signal.SIGCONT)
    assert view.wait() == 0, view.output
    assert 'FATAL' not in view.output, view.output
    assert view.survivors() == []
    listed = subprocess.run(
        [RERUN, 'rrd', 'print', record], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    for path in ('observation', 'action', 'joints', 'rates', 'energy', 'latency', 'diagnostics'):
        assert f'/{path} ' in listed or f'/{path}\n' in listed or f"/{path}'" in listed, path
    for path in ('/spikes/layer_0', '/spikes/layer_3', '/robot/body_1', '/log'):
        assert path in listed, path


def test_a_page_that_cannot_be_served(stage: Stage) -> None:
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        view = stage.start('view', port=port - 1)
        assert view.wait() == 1
    assert f'the view cannot be served on 127.0.0.1:{port}' in view.output
    assert 'Traceback' not in view.output


def test_a_view_that_is_killed_leaves_no_server(stage: Stage) -> None:
    port = two_free_ports()
    view = stage.start('view', port=port)
    assert stage.until(lambda: bool(listening_addresses(port))), view.output
    view.end(signal.SIGKILL)
    assert view.survivors() == []


def test_the_page_in_a_browser(stage: Stage) -> None:
    """Needs a browser, which no Python package brings: Debian's chromium and pip's playwright."""
    playwright = pytest.importorskip('playwright.sync_api')
    browser_path = shutil.which('chromium')
    if browser_path is None:
        pytest.skip('there is no chromium on this machine')
    import numpy as np
    import PIL.Image

    _, port = start_view(stage)
    picture = stage.folder / 'page.png'
    url = f'http://127.0.0.1:{port}/?url=rerun%2Bhttp://127.0.0.1:{port + 1}/proxy&renderer=webgl'
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=browser_path,
            args=['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'],
        )
        page = browser.new_page(viewport={'width': 1200, 'height': 800})
        page.goto(url)
        deadline = time.monotonic() + 90
        while True:  # drawn without a graphics card, the first pictures take their time
            stage.spin(3.0)
            page.screenshot(path=picture, timeout=60_000)
            pixels = np.asarray(PIL.Image.open(picture).convert('RGB')).astype(int)
            # The rasters are in the middle: black, and white where a neuron fired.
            middle = pixels[80:780, 420:780].reshape(-1, 3)
            dark = (middle.max(axis=1) < 40).mean()
            # The plots' lines are the only colours.
            coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 60).mean()
            if (dark > 0.1 and coloured > 0.002) or time.monotonic() > deadline:
                break
        browser.close()
    assert dark > 0.1, 'no raster'
    assert coloured > 0.002, 'no plot'
