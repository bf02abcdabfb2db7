# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Run sim and controller against each other: a closed loop on one machine."""

from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from proxy_snn_control.policy import plugins, read_policy, UserError
import yaml

# Arguments that are parameters of a node: default, type, description. Empty ones are not passed,
# and what has None for its default must be given.
SIM = {
    'env': ('', str, "Gymnasium task, a MuJoCo one; the policy's own if empty"),
    'paper_physics': ('', bool, "contacts as in the paper's MuJoCo; as in training if empty"),
    'env_kwargs': (
        '',
        str,
        "what the task is made with, NAME=VALUE ..; the policy's own if empty",
    ),
    'plugins': ('', None, "modules to import first, as '[my_robot]': docs/plugins.md"),
    'mode': ('lockstep', str, "lockstep: one step per command; realtime: at the task's rate"),
    'seed': ('', int, 'episode i starts from seed + i'),
    'episodes': ('10', int, 'end after so many episodes; 0 never ends'),
}
CONTROLLER = {
    'policy': (None, str, 'the policy file (*.safetensors)'),
    'plugins': ('', None, "modules to import first, as '[my_robot]': docs/plugins.md"),
    'use_sim_time': ('', bool, "let the controller take the time from the sim's /clock"),
}


def end_all(context: LaunchContext) -> list[Shutdown]:
    """End the launch, once: the second node to end finds it ending already."""
    return [] if context.is_shutdown else [Shutdown(reason='a node has ended')]


def task_of(policy_file: str, env: str, modules: str) -> Any:
    """Return the task to run a policy on, a TaskSpec: `env`, or if empty the one of its training.

    The plugins among `modules`, a list in YAML, are loaded: the policy file may need them.
    """
    # Here, for the arguments can be shown without Gymnasium.
    from proxy_snn_control.learning.tasks import task_of_policy

    try:
        names = yaml.safe_load(modules) or []
        plugins.load([names] if isinstance(names, str) else names)
        return task_of_policy(read_policy(policy_file)[0], policy_file, env or None)
    except (UserError, yaml.YAMLError) as error:
        raise RuntimeError(str(error)) from None


def start_both(context: LaunchContext) -> list[Node]:
    """Start sim and controller with the arguments given; the end of either ends the launch."""

    def given(
        parameters: dict[str, tuple[str | None, type | None, str]],
    ) -> dict[str, ParameterValue]:
        return {
            name: ParameterValue(LaunchConfiguration(name), value_type=kind)
            for name, (_, kind, _) in parameters.items()
            if context.launch_configurations[name]
        }

    arguments = context.launch_configurations
    task = task_of(arguments['policy'], arguments['env'], arguments['plugins'])
    arguments['env'] = task.env
    arguments['paper_physics'] = arguments['paper_physics'] or str(task.paper_physics).lower()
    arguments['env_kwargs'] = arguments['env_kwargs'] or task.words
    lockstep = context.launch_configurations['mode'] == 'lockstep'
    namespace = LaunchConfiguration('namespace')
    return [
        Node(
            package='proxy_snn_control',
            executable='sim',
            name='sim',
            namespace=namespace,
            parameters=[given(SIM)],
            output='screen',
            on_exit=OpaqueFunction(function=end_all),
        ),
        LifecycleNode(
            package='proxy_snn_control',
            executable='controller',
            name='controller',
            namespace=namespace,
            parameters=[given(CONTROLLER) | {'autostart': True, 'lockstep': lockstep}],
            output='screen',
            on_exit=OpaqueFunction(function=end_all),
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start both nodes."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, _, description) in (CONTROLLER | SIM).items()
            ),
            DeclareLaunchArgument('namespace', default_value='', description='ROS namespace'),
            OpaqueFunction(function=start_both),
        ]
    )
