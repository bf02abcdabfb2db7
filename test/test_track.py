# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""`train --track`: the real service where it is installed, on its store in a folder."""

from collections.abc import Iterator
import csv
import importlib.util
import json
import os
from pathlib import Path
import struct
import subprocess
import sys

import pytest

QUICK = ['--steps', '60', '--set', 'random_steps=40', 'eval_every=30', 'eval_episodes=1']
QUICK += ['hidden=[32, 32]', 'batch_size=32', 'threads=1', 'device=cpu']


def train(folder: Path, service: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'proxy_snn_control.cli', 'train', '--track', service]
    return subprocess.run(
        [*command, '--env', 'InvertedPendulum-v5', '--out', str(folder / 'run'), *QUICK],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
        timeout=300,
    )


def test_mlflow_gets_every_row(tmp_path: Path) -> None:
    mlflow = pytest.importorskip('mlflow')
    store = f'sqlite:///{tmp_path}/mlflow.db'
    done = train(tmp_path, 'mlflow', MLFLOW_TRACKING_URI=store)
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(store)
    (experiment,) = client.search_experiments(filter_string="name = 'proxy_snn_control'")
    (run,) = client.search_runs([experiment.experiment_id])
    logged = client.get_metric_history(run.info.run_id, 'eval_return_mean')
    with open(tmp_path / 'run' / 'progress.csv') as file:
        rows = [(int(row['step']), float(row['eval_return_mean'])) for row in csv.DictReader(file)]
    assert [(each.step, each.value) for each in logged] == rows
    assert run.info.status == 'FINISHED'
    assert run.data.params['env'] == 'InvertedPendulum-v5'


def records_of(path: Path) -> Iterator[bytes]:
    """Yield the records of a file of W&B's offline mode, which is a log of LevelDB's form."""
    data, at, record = path.read_bytes(), 7, b''
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack_from('<IHB', data, at)
        begin, end = at + 7, at + 7 + size
        record += data[begin:end]
        at = end
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b''


def test_wandb_gets_every_row(tmp_path: Path) -> None:
    pytest.importorskip('wandb')
    from wandb.proto.wandb_internal_pb2 import Record

    done = train(tmp_path, 'wandb', WANDB_MODE='offline')
    assert done.returncode == 0, done.stderr
    (log,) = tmp_path.glob('wandb/offline-run-*/*.wandb')
    records = [Record.FromString(each) for each in records_of(log)]
    logged = [
        {item.key or '.'.join(item.nested_key): json.loads(item.value_json) for item in items}
        for each in records
        if (items := each.history.item)
    ]
    with open(tmp_path / 'run' / 'progress.csv') as file:
        rows = [(int(row['step']), float(row['eval_return_mean'])) for row in csv.DictReader(file)]
    assert [(each['_step'], each['eval_return_mean']) for each in logged] == rows
    (about,) = (each.run for each in records if each.WhichOneof('record_type') == 'run')
    assert 'InvertedPendulum-v5' in {item.value_json.strip('"') for item in about.config.update}


@pytest.mark.parametrize('service', ['wandb', 'mlflow'])
def test_a_service_that_is_not_installed_is_named(tmp_path: Path, service: str) -> None:
    if importlib.util.find_spec(service):
        pytest.skip(f'{service} is installed')
    done = train(tmp_path, service)
    assert done.returncode == 1
    assert f"the Python module '{service}' is not installed" in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'run').exists()
