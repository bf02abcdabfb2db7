# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Run a Gymnasium MuJoCo task behind ROS topics."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import Parameter, ParameterValue

# Arguments that are parameters of the sim: default, type, description. An empty one is not passed
# on: a default must not override the parameter file. Only mode always does, so that a
# sim that is launched alone keeps time like a robot.
SIM = {
    'env': ('', str, 'Gymnasium task, a MuJoCo one; a double pendulum if empty'),
    'paper_physics': ('', bool, "Hopper's and Ant's contact margins as in the paper's MuJoCo"),
    'env_kwargs': ('', str, 'what the task is made with: NAME=VALUE NAME=VALUE ..'),
    'plugins': ('', None, "modules to import first, as '[my_robot]': docs/plugins.md"),
    'mode': ('realtime', str, "lockstep: one step per command; realtime: at the task's rate"),
    'seed': ('', int, 'episode i starts from seed + i'),
    'episodes': ('', int, 'end after so many episodes; 0 never ends'),
    'publish_clock': ('', bool, 'whether this sim is the one that publishes /clock'),
    'odom_frame': ('', str, "frame of the odometry's pose"),
    'base_frame': ('', str, 'frame of the base, of its twist and of the IMU'),
    'image_rate': ('', float, 'camera images a simulated second; 0: none'),
    'image_width': ('', int, 'in pixels'),
    'image_height': ('', int, 'in pixels'),
    'camera': ('', str, "the model's camera; empty: the task's own view"),
    'use_sim_time': ('', bool, 'accepted for uniformity; the sim is what publishes /clock'),
}


def start_sim(context: LaunchContext) -> list[Node]:
    """Return the sim node, with the arguments that were given."""
    config = context.launch_configurations['config']
    if config and not Path(config).is_file():
        raise RuntimeError(f'parameter file {config}: no such file')  # launch would only warn
    given = [
        (name, LaunchConfiguration(name), kind)
        for name, (_, kind, _) in SIM.items()
        if context.launch_configurations[name]
    ]
    # Once for this node, once for /**: where the file has both, its order decides which wins.
    twice = [
        {name: ParameterValue(value, value_type=kind) for name, value, kind in given},
        *(Parameter(name, value, value_type=kind) for name, value, kind in given),
    ]
    return [
        Node(
            package='proxy_snn_control',
            executable='sim',
            name='sim',
            namespace=LaunchConfiguration('namespace'),
            parameters=[*filter(None, [config]), *twice],
            output='screen',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the sim node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'config',
                default_value='',
                description='parameter file; arguments that are given override it',
            ),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, _, description) in SIM.items()
            ),
            DeclareLaunchArgument('namespace', default_value='', description='ROS namespace'),
            OpaqueFunction(function=start_sim),
        ]
    )
