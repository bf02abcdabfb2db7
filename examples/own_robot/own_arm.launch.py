# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The simulated arm in real time, and the controller that commands it."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument('policy', description='the policy file'),
            DeclareLaunchArgument('robot', default_value='robot.yaml'),
            Node(
                package='proxy_snn_control',
                executable='sim',
                name='sim',
                parameters=[{'env': 'own_arm', 'plugins': ['own_arm'], 'mode': 'realtime'}],
                output='screen',
            ),
            Node(
                package='proxy_snn_control',
                executable='controller',
                name='controller',
                parameters=[
                    {
                        'policy': LaunchConfiguration('policy'),
                        'robot': LaunchConfiguration('robot'),
                        'autostart': True,
                        'ramp_in': 1.0,
                    }
                ],
                output='screen',
            ),
        ]
    )
