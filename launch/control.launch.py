# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Run a policy on a robot: the controller node, and with backend:=lava the neuromorphic one."""

import os
from pathlib import Path
import shutil

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import Parameter, ParameterValue
from launch_ros.substitutions import FindPackageShare
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

DEFAULT_CONFIG = PathJoinSubstitution(
    [FindPackageShare('proxy_snn_control'), 'config', 'controller.yaml']
)
# Arguments that are parameters of the controller: default, type, description. An empty one is not
# passed on: a default must not override the parameter file.
CONTROLLER = {
    'policy': ('', str, 'the policy file (*.safetensors)'),
    'robot': ('', str, 'YAML file that maps topics to observations and commands'),
    'plugins': ('', None, "modules to import first, as '[my_robot]': docs/plugins.md"),
    'rate': ('', float, 'commands a second; 0 answers every observation'),
    'lockstep': ('', bool, 'the sim waits for every command'),
    'shadow': ('', bool, 'publish commands to ~/shadow_command only, to watch before moving'),
    'wiring': ('', str, 'on motion other than in training: warn, require or none'),
    'rivals': ('', str, 'on others who publish on its topics: warn or stop'),
    'observation_timeout': ('', float, 'seconds without a source until the safe command'),
    'safe_hold': ('', bool, 'as the safe command, the last that was sent'),
    'ramp_in': ('', float, 'seconds over which commands grow after activation'),
    'stop_heartbeat': ('', float, 'seconds within which stop must be published; 0: no check'),
    'resume_after_crash': ('', bool, 'command after a crash without ~/arm'),
    'lock': ('', bool, 'nothing can be changed after configure'),
    'command_deadline': ('', float, 'deadline in seconds that the command topic offers; 0: none'),
    'command_lease': ('', float, 'liveliness lease in seconds that it offers; 0: none'),
    'autostart': ('true', bool, 'configure and activate at start'),
    'backend': ('native', str, 'what runs the spiking layers: this node (native) or lava'),
    'backend_deadline': ('', float, 'seconds to wait for lava; 0: half a control period'),
    'backend_fallback': ('', str, 'what commands if lava is late: native or safe'),
    'use_sim_time': ('', bool, 'take the time from /clock'),
}
# Long enough for a controller that fails at once not to keep the machine busy.
RESPAWN_SECONDS = 1.0


# What belongs to this Python and this ROS and not to Lava's environment.
NOT_LAVAS = ('PYTHONPATH', 'LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')
# As python -P -m, which Lava's Python 3.10 does not have: nothing in the current folder is run.
RUN_MODULE = (
    'import sys; sys.path[:1] = filter(None, sys.path[:1]); import runpy; '
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def start_neuromorphic(context: LaunchContext) -> list[ExecuteProcess]:
    """Return the neuromorphic node in Lava's environment; it is started again whenever it ends."""
    given = context.launch_configurations
    if given['backend'] != 'lava':
        return []
    if not Path(given['lava_python']).is_file():
        raise RuntimeError(
            f'lava_python {given["lava_python"]}: no such file; make lava makes one'
        )
    if not given['policy']:
        raise RuntimeError(
            'policy is empty; with backend:=lava it cannot be in the parameter file'
        )
    command = [given['lava_python'], '-c', RUN_MODULE, 'proxy_snn_control.nodes', 'neuromorphic']
    command += ['--ros-args']
    command += ['-p', f'policy:={given["policy"]}', '-p', f'precision:={given["precision"]}']
    # Where the controller is, also in a group of an including file: it uses a relative name.
    pushed = given.get('ros_namespace')
    namespace = make_namespace_absolute(prefix_namespace(pushed, given['namespace']))
    if namespace and namespace != '/':
        command += ['-r', f'__ns:={namespace}']
    for source, target in given.get('ros_remaps', []):
        command += ['-r', f'{source}:={target}']
    if shutil.which('setpriv'):  # so that it ends with the launch, whatever ends that
        command = ['setpriv', '--pdeathsig', 'TERM', *command]
    environment = {name: value for name, value in os.environ.items() if name not in NOT_LAVAS}
    return [
        ExecuteProcess(
            cmd=command,
            name='neuromorphic',
            env=environment,
            respawn=True,
            respawn_delay=RESPAWN_SECONDS,
            output='screen',
        )
    ]


def start_controller(context: LaunchContext) -> list[LifecycleNode]:
    """Return the controller node, with the arguments that were given."""
    config = context.launch_configurations['config']
    if not Path(config).is_file():
        # launch would only warn, and the controller start without its safe command.
        raise RuntimeError(f'parameter file {config}: no such file')
    given = [
        (name, LaunchConfiguration(name), kind)
        for name, (_, kind, _) in CONTROLLER.items()
        if context.launch_configurations[name]
    ]
    # Once for this node, once for /**: where the file has both, its order decides which wins.
    twice = [
        {name: ParameterValue(value, value_type=kind) for name, value, kind in given},
        *(Parameter(name, value, value_type=kind) for name, value, kind in given),
    ]
    return [
        LifecycleNode(
            package='proxy_snn_control',
            executable='controller',
            name='controller',
            namespace=LaunchConfiguration('namespace'),
            parameters=[config, *twice],
            ros_arguments=['--log-level', LaunchConfiguration('log_level')],
            respawn=LaunchConfiguration('respawn'),
            respawn_delay=RESPAWN_SECONDS,
            output='screen',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the controller node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'config',
                default_value=DEFAULT_CONFIG,
                description='parameter file; arguments that are given override it',
            ),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, _, description) in CONTROLLER.items()
            ),
            DeclareLaunchArgument(
                'lava_python',
                default_value='.venv-lava/bin/python',
                description="the Python of Lava's environment, which make lava makes",
            ),
            DeclareLaunchArgument(
                'precision',
                default_value='float',
                choices=['float', 'fixed'],
                description="of Lava's arithmetic",
            ),
            DeclareLaunchArgument('namespace', default_value='', description='ROS namespace'),
            DeclareLaunchArgument(
                'respawn',
                default_value='false',
                description='restart the controller a second after it has ended; it then waits '
                'for ~/arm unless resume_after_crash is true',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=['debug', 'info', 'warn', 'error', 'fatal'],
                description='the least severe messages to log',
            ),
            OpaqueFunction(function=start_neuromorphic),
            OpaqueFunction(function=start_controller),
        ]
    )
