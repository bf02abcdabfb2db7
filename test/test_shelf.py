# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Policies found by name, and the cards that describe them."""

import json
from pathlib import Path
import re
import subprocess
import sys

import numpy as np
from proxy_snn_control.cli import main
from proxy_snn_control.policy import load_policy, PolicyFileError, read_policy, shelf
import pytest

POLICIES = Path(__file__).parents[1] / 'policies'


def test_every_policy_on_the_shelf_has_a_card_and_knows_its_transitions() -> None:
    assert {'ant', 'half_cheetah', 'inverted_double_pendulum'} <= set(shelf.names())
    assert {path.stem for path in POLICIES.glob('*.md')} == set(shelf.names())
    for name in shelf.names():
        policy = load_policy(name)
        assert policy.whitening is not None
        assert Path(shelf.find(name)).stat().st_size < 2**20
        assert (
            f'| task | {policy.spec.provenance["env"]} |' in (POLICIES / f'{name}.md').read_text()
        )


def test_a_file_goes_before_the_shelf(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shelf.find('half_cheetah') == POLICIES / 'half_cheetah.safetensors'
    (tmp_path / 'half_cheetah').write_bytes(b'12345678')
    with pytest.raises(PolicyFileError, match='policy file half_cheetah'):
        read_policy('half_cheetah')
    expected = r'half_cheeta: no such file.* on the shelf \(ant, half_cheetah, '
    with pytest.raises(PolicyFileError, match=expected):
        read_policy('half_cheeta')


def test_from_the_command_line_anywhere(tmp_path: Path) -> None:
    """The card's figures, measured again."""
    command = [sys.executable, '-m', 'proxy_snn_control.cli', 'evaluate']
    command += ['inverted_double_pendulum', '--json', '--episodes', '3', '--seed', '10000000']
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=tmp_path, check=True,
        env={'PYTHONPATH': str(POLICIES.parent), 'PATH': '', 'HOME': str(tmp_path)},
    )  # fmt: skip
    found = json.loads(done.stdout)
    card = (POLICIES / 'inverted_double_pendulum.md').read_text()
    (energy,) = re.findall(r'energy \| ([\d.]+) nJ', card)
    assert found['nanojoules_per_action'] == pytest.approx(float(energy), rel=0.03)
    (mean,) = re.findall(r'return \| (\d+) \u00b1', card)
    assert found['mean'] == pytest.approx(float(mean), abs=3)


def test_shelving_measures_what_a_file_lacks(tmp_path: Path, monkeypatch) -> None:
    """The wiring check of a policy whose file knew no transitions finds a wrong sign."""
    from proxy_snn_control.control.wiring import Wiring
    from proxy_snn_control.learning import shelving
    from proxy_snn_control.learning.tasks import make_environment

    monkeypatch.setattr(shelving, 'TRANSITIONS', 6_000)
    monkeypatch.setattr(shelving, 'EPISODES', 2)
    before = POLICIES.parent / 'benchmarks/policies/lif-InvertedDoublePendulum-v5.safetensors'
    assert load_policy(before).whitening is None
    assert main(['shelve', str(before), '--name', 'mine', '--shelf', str(tmp_path)]) == 0
    policy = load_policy(tmp_path / 'mine.safetensors')
    old, new = read_policy(before)[1], read_policy(tmp_path / 'mine.safetensors')[1]
    assert all(np.array_equal(old[name], new[name]) for name in old)
    assert policy.spec.provenance['transitions'] == 'measured after training'
    card = (tmp_path / 'mine.md').read_text()
    assert '| wiring check | all of it; transitions measured after training |' in card
    assert '| return | 934' in card
    environment = make_environment('InvertedDoublePendulum-v5')
    for sign, wrong in ((1, False), (-1, True)):
        wiring = Wiring(policy)
        observation, _ = environment.reset(seed=3)
        for step in range(40):
            seen = observation.copy()
            seen[1] *= sign
            action = policy.act(observation)
            wiring.add(seen, action, step * 0.05)
            observation, *_ = environment.step(action)
        findings = wiring.findings(check_period=True)
        assert bool(findings) == wrong, findings
    assert 'hinge.sin has the wrong sign' in findings[0]


def test_a_name_that_is_none(capsys) -> None:
    assert main(['shelve', 'half_cheetah', '--name', 'Half Cheetah']) == 1
    assert "--name is 'Half Cheetah', expected small letters" in capsys.readouterr().err
