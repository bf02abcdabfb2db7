"""Run a Gymnasium MuJoCo task behind ROS topics."""

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

ARGUMENTS = {
    "env": ("InvertedDoublePendulum-v5", str, "Gymnasium task, a MuJoCo one"),
    "mode": ("realtime", str, "lockstep: one step per command; realtime: at the task's rate"),
    "seed": ("0", int, "episode i starts from seed + i"),
    "episodes": ("0", int, "end after so many episodes; 0 never ends"),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the sim node."""
    parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (_, kind, _) in ARGUMENTS.items()
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="", description="ROS namespace"),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                description="accepted for uniformity; the sim is what publishes /clock",
            ),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, _, description) in ARGUMENTS.items()
            ),
            Node(
                package="proxy_snn_control",
                executable="sim",
                name="sim",
                namespace=LaunchConfiguration("namespace"),
                parameters=[parameters],
                output="screen",
            ),
        ]
    )
