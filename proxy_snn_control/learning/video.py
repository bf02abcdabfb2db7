"""A film of one episode, drawn without a screen."""

from __future__ import annotations

import os
from pathlib import Path

from proxy_snn_control.learning.tasks import clip_action, episode_seed, make_environment
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import replacing
from proxy_snn_control.policy.runtime import Policy

# imageio's writers, and what they want to be told: the temporary file's name does not say.
WRITERS = {
    ".mp4": ("FFMPEG", {"codec": "libx264", "output_params": ["-f", "mp4"]}),
    ".gif": ("GIF-PIL", {"loop": 0}),
}


def writer_of(path: Path) -> str:
    """The kind of film that a file name asks for.

    Raises:
        UserError: neither .mp4 nor .gif.
    """
    if path.suffix.lower() not in WRITERS:
        raise UserError(f"video file {path}: ends in {path.suffix!r}, expected .mp4 or .gif")
    return path.suffix.lower()


def film(policy: Policy, task: str, seed: int, path: Path) -> float:
    """Play the first evaluation episode of `seed` and write it to `path`; returns its return.

    Raises:
        UserError: the name ends in neither .mp4 nor .gif, this machine cannot draw the task, or
            the file cannot be written.
    """
    kind, options = WRITERS[writer_of(path)]
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    import imageio.v2 as imageio

    environment = make_environment(task, render_mode="rgb_array")
    rate = float(environment.metadata.get("render_fps", 30))
    timing = {"fps": rate} if kind == "FFMPEG" else {"duration": 1000 / rate}
    observation, _ = environment.reset(seed=episode_seed(seed, 0))
    try:
        first = environment.render()
    except Exception as error:  # whatever the graphics libraries raise where there are none
        tried = os.environ.get("MUJOCO_GL", "the screen")
        raise UserError(
            f"task {task!r} cannot be drawn on this machine through {tried} ({error}); set the "
            "environment variable MUJOCO_GL to egl, osmesa or glfw"
        ) from None
    total, ended = 0.0, False
    with replacing(path) as temporary:
        with imageio.get_writer(temporary, format=kind, mode="I", **options, **timing) as writer:
            writer.append_data(first)
            while not ended:
                action = clip_action(environment, policy.act(observation))
                observation, reward, terminated, truncated, _ = environment.step(action)
                total += float(reward)
                ended = terminated or truncated
                writer.append_data(environment.render())
    environment.close()
    return total
