"""Run a policy on a robot: the controller node."""

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

DEFAULT_CONFIG = PathJoinSubstitution(
    [FindPackageShare("proxy_snn_control"), "config", "controller.yaml"]
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the controller node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("policy", description="the policy file (*.safetensors)"),
            DeclareLaunchArgument(
                "config", default_value=DEFAULT_CONFIG, description="parameter file"
            ),
            DeclareLaunchArgument(
                "backend",
                default_value="native",
                choices=["native"],
                description="what runs the spiking network",
            ),
            DeclareLaunchArgument(
                "rate",
                default_value="0.0",
                description="commands a second; 0 answers every observation",
            ),
            DeclareLaunchArgument(
                "autostart", default_value="true", description="configure and activate at start"
            ),
            DeclareLaunchArgument("namespace", default_value="", description="ROS namespace"),
            DeclareLaunchArgument(
                "use_sim_time", default_value="false", description="take the time from /clock"
            ),
            LifecycleNode(
                package="proxy_snn_control",
                executable="controller",
                name="controller",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("config"),
                    {
                        "policy": ParameterValue(LaunchConfiguration("policy"), value_type=str),
                        "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                        "autostart": ParameterValue(
                            LaunchConfiguration("autostart"), value_type=bool
                        ),
                        "use_sim_time": ParameterValue(
                            LaunchConfiguration("use_sim_time"), value_type=bool
                        ),
                    },
                ],
                output="screen",
            ),
        ]
    )
