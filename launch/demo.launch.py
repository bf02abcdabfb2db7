"""Run sim and controller against each other: a closed loop on one machine."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "env": ("InvertedDoublePendulum-v5", str, "Gymnasium task, a MuJoCo one"),
    "mode": ("lockstep", str, "lockstep: one step per command; realtime: at the task's rate"),
    "seed": ("0", int, "episode i starts from seed + i"),
    "episodes": ("10", int, "end after so many episodes; 0 never ends"),
}


def end_all(context: LaunchContext) -> list[Shutdown]:
    """End the launch, once: the second node to end finds it ending already."""
    return [] if context.is_shutdown else [Shutdown(reason="a node has ended")]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start both nodes; the end of either ends the launch."""
    sim_parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (_, kind, _) in ARGUMENTS.items()
    }
    lockstep = PythonExpression(["'", LaunchConfiguration("mode"), "' == 'lockstep'"])
    namespace = LaunchConfiguration("namespace")
    return LaunchDescription(
        [
            DeclareLaunchArgument("policy", description="the policy file (*.safetensors)"),
            DeclareLaunchArgument("namespace", default_value="", description="ROS namespace"),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                description="let the controller take the time from the sim's /clock",
            ),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, _, description) in ARGUMENTS.items()
            ),
            Node(
                package="proxy_snn_control",
                executable="sim",
                name="sim",
                namespace=namespace,
                parameters=[sim_parameters],
                output="screen",
                on_exit=OpaqueFunction(function=end_all),
            ),
            LifecycleNode(
                package="proxy_snn_control",
                executable="controller",
                name="controller",
                namespace=namespace,
                parameters=[
                    {
                        "policy": ParameterValue(LaunchConfiguration("policy"), value_type=str),
                        "autostart": True,
                        "lockstep": ParameterValue(lockstep, value_type=bool),
                        "use_sim_time": ParameterValue(
                            LaunchConfiguration("use_sim_time"), value_type=bool
                        ),
                    }
                ],
                output="screen",
                on_exit=OpaqueFunction(function=end_all),
            ),
        ]
    )
