# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Show a controller and its robot live, in a web page."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

# Parameters of the view: default, type, description. An empty one is not passed on.
VIEW = {
    'controller': ('', str, "the controller's name, as topics begin with it"),
    'env': ('', str, 'Gymnasium MuJoCo task of the robot: draws its model'),
    'urdf': ('', str, 'URDF file of the robot: draws it from joint_states'),
    'bind': ('', str, 'address that the page is served on; 127.0.0.1 if empty'),
    'port': ('', int, 'port of the page; data are on the next one'),
    'record': ('', str, 'file (.rrd) for all that is shown, to be opened later'),
    'rate': ('', float, 'updates of the page a second'),
    'use_sim_time': ('', bool, 'whether to use the time on /clock'),
}


def start_view(context: LaunchContext) -> list[Node]:
    """Return the view node, with the arguments that were given."""
    parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (_, kind, _) in VIEW.items()
        if context.launch_configurations[name]
    }
    return [
        Node(
            package='proxy_snn_control',
            executable='view',
            name='view',
            namespace=LaunchConfiguration('namespace'),
            parameters=[parameters],
            output='screen',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the view node."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, _, description) in VIEW.items()
            ),
            DeclareLaunchArgument('namespace', default_value='', description='ROS namespace'),
            OpaqueFunction(function=start_view),
        ]
    )
