# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""security/policy.xml beside what the nodes really publish, subscribe to and serve.

Whether a middleware enforces it is not tried here: that of rclpy's wheels is built without
security and then, as it should be, does not start at all.
"""

from pathlib import Path
import subprocess
import xml.etree.ElementTree as ElementTree

from conftest import Stage
import pytest
from test_faults import start

pytest.importorskip('rclpy')

FOLDER = Path(__file__).parents[1] / 'security'


def allowed(node: str, kind: str, what: str) -> set[str]:
    """Return the names that the policy file allows a node for publish, subscribe or reply."""
    root = ElementTree.parse(FOLDER / 'policy.xml').getroot()
    (profile,) = root.findall(f".//enclave[@path='/{node}']/profiles/profile[@node='{node}']")
    return {
        f'/{each.text}'
        for group in profile.findall(f'{kind}s')
        if group.get(what) == 'ALLOW'
        for each in group.findall(kind)
    }


@pytest.mark.parametrize('node', ['controller', 'sim', 'guard'])
def test_the_policy_has_all_that_a_node_has(stage: Stage, policy_file: Path, node: str) -> None:
    if node == 'controller':
        start(stage, policy_file, backend='lava', use_sim_time='true')
    else:
        given = {'safe_command': '[0.0]'} if node == 'guard' else {'env': 'HalfCheetah-v5'}
        stage.start(node, **given, use_sim_time='true')
    graph = stage.node
    looks = {
        ('topic', 'publish'): graph.get_publisher_names_and_types_by_node,
        ('topic', 'subscribe'): graph.get_subscriber_names_and_types_by_node,
        ('service', 'reply'): graph.get_service_names_and_types_by_node,
    }
    assert stage.until(lambda: (node, '/') in graph.get_node_names_and_namespaces())
    stage.spin(2.0)
    for (kind, what), look in looks.items():
        assert stage.until(lambda look=look: len(look(node, '/')) > 1)
        found = {name for name, _ in look(node, '/')}
        assert found <= allowed(node, kind, what)


def test_the_policy_is_no_more_than_the_nodes_need() -> None:
    for node in ('controller', 'sim', 'guard', 'neuromorphic', 'operator'):
        for what in ('publish', 'subscribe'):
            assert not [name for name in allowed(node, 'topic', what) if '*' in name]
    assert '/command' not in allowed('operator', 'topic', 'publish')
    assert '/stop' not in allowed('controller', 'topic', 'publish')


def test_the_script_prints_its_usage() -> None:
    done = subprocess.run(
        [str(FOLDER / 'secure_demo.sh')], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'KEYSTORE POLICY' in done.stderr


def test_with_security_enforced_nothing_runs_without(stage: Stage, policy_file: Path) -> None:
    """Where the keystore has no such enclave, or the middleware no security, the node ends."""
    keystore = stage.folder / 'keystore'
    keystore.mkdir()
    stage.environment |= {
        'ROS_SECURITY_KEYSTORE': str(keystore),
        'ROS_SECURITY_ENABLE': 'true',
        'ROS_SECURITY_STRATEGY': 'Enforce',
    }
    controller = stage.start('controller', policy=policy_file, autostart='true')
    assert controller.wait(20) == 1
    assert 'SECURITY ERROR' in controller.output
    assert 'Traceback' not in controller.output
