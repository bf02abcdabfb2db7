"""Drawing a task without a screen, and a film of one episode."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from proxy_snn_control.learning.evaluate import check_length
from proxy_snn_control.learning.tasks import clip_action, episode_seed, make_environment
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import check_target, replacing
from proxy_snn_control.policy.runtime import Policy

KINDS = (".mp4", ".gif")


def check_name(path: Path) -> None:
    """Raise a UserError unless the name has the suffix of a film that can be written there."""
    if path.suffix.lower() not in KINDS:
        raise UserError(f"video file {path}: ends in {path.suffix!r}, expected .mp4 or .gif")
    check_target(path)


def make_drawable(task: str, **options: Any) -> gymnasium.Env:
    """Make a task whose render() gives an image, uint8 [height, width, 3], without a screen.

    Where the environment variable MUJOCO_GL does not name the renderer and there is no
    screen, it is EGL, or OSMesa on a machine that has only that.

    Args:
        task: the Gymnasium id.
        options: what the task is made with, such as width, height and camera_name.

    Raises:
        UserError: there is no such task, or this machine cannot draw it.
    """
    if not os.environ.get("DISPLAY"):
        only_osmesa = find_library("OSMesa") and not find_library("EGL")
        os.environ.setdefault("MUJOCO_GL", "osmesa" if only_osmesa else "egl")
    environment = make_environment(task, render_mode="rgb_array", **options)
    environment.reset(seed=0)
    try:
        image: Any = environment.render()
    except Exception as error:  # whatever the graphics libraries raise where there are none
        _drop_quietly(error)
        reason = " ".join(str(error).split()) or type(error).__name__
        if not hasattr(environment.unwrapped, "model"):  # no MuJoCo in it
            raise UserError(f"task {task!r} cannot be drawn ({reason})") from None
        tried = os.environ.get("MUJOCO_GL", "the screen")
        raise UserError(
            f"task {task!r} cannot be drawn on this machine through {tried} ({reason}); set the "
            "environment variable MUJOCO_GL to egl, osmesa or glfw"
        ) from None
    shape, kind = getattr(image, "shape", ()), getattr(image, "dtype", type(image).__name__)
    if shape[2:] != (3,) or kind != np.uint8:
        raise UserError(
            f"task {task!r} draws {kind} of shape {shape}, expected uint8 [height, width, 3]"
        )
    return environment


def _drop_quietly(error: Exception) -> None:
    """Collect Gymnasium's half-made viewer, which would print a traceback at its own end."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    traceback.clear_frames(error.__traceback__)
    sys.unraisablehook = hook


@contextmanager
def _writer(path: Path, kind: str, frame: np.ndarray, rate: float) -> Iterator[Any]:
    """A function that appends a frame to the film being written to `path`."""
    height, width, _ = frame.shape
    if kind == ".mp4":
        import imageio_ffmpeg

        path.touch()  # raises with the reason where it cannot be written, which FFmpeg does not
        film = imageio_ffmpeg.write_frames(
            str(path), (width, height), fps=rate, output_params=["-f", "mp4"]
        )
        film.send(None)
        try:
            yield lambda image: film.send(np.ascontiguousarray(image))
        finally:
            film.close()
        return
    import imageio.v2

    with open(path, "wb") as file:
        gif: Any = imageio.v2.get_writer(
            file, format="GIF-PIL", mode="I", duration=1000 / rate, loop=0
        )
        with gif:
            yield gif.append_data


def film(policy: Policy, task: str, seed: int, path: Path) -> float:
    """Play the first evaluation episode of `seed` and write it to `path`; returns its return.

    Raises:
        UserError: the name ends in neither .mp4 nor .gif, this machine cannot draw the task, or
            the file cannot be written.
    """
    check_name(path)
    environment = make_drawable(task)
    rate = float(environment.metadata.get("render_fps", 30))
    observation, _ = environment.reset(seed=episode_seed(seed, 0))
    first: Any = environment.render()
    total, length, ended = 0.0, 0, False
    with (
        replacing(path) as temporary,
        _writer(temporary, path.suffix.lower(), first, rate) as append,
    ):
        append(first)
        while not ended:
            action = clip_action(environment, policy.act(observation))
            observation, reward, terminated, truncated, _ = environment.step(action)
            total += float(reward)
            length += 1
            ended = terminated or truncated
            if not ended:
                check_length(environment, length)
            append(environment.render())
    environment.close()
    return total
