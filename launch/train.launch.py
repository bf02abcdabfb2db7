# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Train a policy, with its progress on topics."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

# Arguments that are parameters of the node: default, type, description. Empty ones are not passed.
TRAIN = {
    'config': ('', str, "YAML file of settings; the paper's (config/train.yaml) if empty"),
    'env': ('', str, 'Gymnasium task; from the config if empty'),
    'plugins': ('', None, "modules to import first, as '[my_robot]': docs/plugins.md"),
    'neuron': ('', str, 'spiking neuron; from the config if empty'),
    'target': ('', str, 'target actor; from the config if empty'),
    'device': ('', str, 'auto, cpu or cuda; from the config if empty'),
    'steps': ('-1', int, 'training steps after the random ones; from the config if -1'),
    'seed': ('', None, "a seed, or several ('[0, 1, 2]'); from the config if empty"),
    'out': ('runs/train', str, "the run's folder, new or empty unless resume"),
    'resume': ('', bool, "resume from the checkpoint in the run's folder"),
    'use_sim_time': ('', bool, 'take the time from /clock'),
}


def start_train(context: LaunchContext) -> list[Node]:
    """Return the train node, with the arguments that were given."""
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (_, kind, _) in TRAIN.items()
        if context.launch_configurations[name]
    }
    return [
        Node(
            package='proxy_snn_control',
            executable='train',
            name='train',
            namespace=LaunchConfiguration('namespace'),
            parameters=[given],
            output='screen',
            # A checkpoint may take a moment before the process ends.
            sigterm_timeout='30',
            sigkill_timeout='30',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the train node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument('namespace', default_value='', description='ROS namespace'),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, _, description) in TRAIN.items()
            ),
            OpaqueFunction(function=start_train),
        ]
    )
