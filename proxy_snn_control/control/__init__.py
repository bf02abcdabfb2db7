"""What a controller decides, in plain Python with the clock passed in; no rclpy."""
