"""A world that can be checked by hand: x grows by a tenth of the command in every step.

It publishes [x, 1] on `place`, and is started over and advanced by services. `python
integrator_sim.py NAMESPACE`.
"""

import sys

import rclpy
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Empty, Trigger


def main(namespace: str) -> None:
    rclpy.init()
    node = rclpy.create_node("integrator", namespace=namespace)
    place = node.create_publisher(Float64MultiArray, "place", 10)
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

    node.create_subscription(Float64MultiArray, "speed", on_command, 10)
    node.create_service(Empty, "again", on_reset)
    node.create_service(Trigger, "advance", on_step)
    rclpy.spin(node)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "/")
