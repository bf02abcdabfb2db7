"""The ROS nodes, on rclpy: controller, sim and train. `python -m proxy_snn_control.nodes NODE`."""
