# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A world that can be checked by hand: x grows by a tenth of the command in every step.

It publishes [x, 1] on `place`, and is started over and advanced by services: of std_srvs, and of
simulation_interfaces where that is installed, as Gazebo offers them. `python integrator_sim.py
NAMESPACE`.
"""

import importlib.util
import sys

import rclpy
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Empty, Trigger


def main(namespace: str) -> None:
    rclpy.init()
    node = rclpy.create_node('integrator', namespace=namespace)
    place = node.create_publisher(Float64MultiArray, 'place', 10)
    x, command = 0.5, 0.0

    def publish() -> None:
        place.publish(Float64MultiArray(data=[x, 1.0]))

    def on_command(message: Float64MultiArray) -> None:
        nonlocal command
        command = message.data[0]

    def on_reset(request: Empty.Request, response: Empty.Response) -> Empty.Response:
        nonlocal x, command
        x, command = 0.5, 0.0
        publish()
        return response

    def on_step(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        nonlocal x
        x += 0.1 * command
        publish()
        response.success = True
        return response

    def offer_simulation_interfaces() -> None:
        """Offer steps of a thousandth of a command, and only while it is paused."""
        from simulation_interfaces.msg import Result, SimulationState
        from simulation_interfaces.srv import ResetSimulation, SetSimulationState, StepSimulation

        paused = False

        def reset(request, response):
            on_reset(Empty.Request(), Empty.Response())
            response.result.result = Result.RESULT_OK
            return response

        def step(request, response):
            nonlocal x
            if paused:
                x += 0.001 * command * request.steps
                publish()
            response.result.result = Result.RESULT_OK if paused else Result.RESULT_INCORRECT_STATE
            response.result.error_message = '' if paused else 'the world is not paused'
            return response

        def change(request, response):
            nonlocal paused
            was, paused = paused, request.state.state == SimulationState.STATE_PAUSED
            already = response.ALREADY_IN_TARGET_STATE
            response.result.result = already if was == paused else Result.RESULT_OK
            return response

        node.create_service(ResetSimulation, 'world/reset_simulation', reset)
        node.create_service(StepSimulation, 'world/step_simulation', step)
        node.create_service(SetSimulationState, 'world/set_simulation_state', change)

    if importlib.util.find_spec('simulation_interfaces'):
        offer_simulation_interfaces()
    node.create_subscription(Float64MultiArray, 'speed', on_command, 10)
    node.create_service(Empty, 'again', on_reset)
    node.create_service(Trigger, 'advance', on_step)
    rclpy.spin(node)


if __name__ == '__main__':
    main(sys.argv[1] if len(sys.argv) > 1 else '/')
