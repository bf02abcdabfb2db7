# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Drawing a task without a screen, and a film of one episode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
import math
import os
from pathlib import Path
import sys
import traceback
from typing import Any

import gymnasium
import numpy as np
from proxy_snn_control.learning.evaluate import check_length
from proxy_snn_control.learning.tasks import clip_action, episode_seed, TaskSpec
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import check_target, replacing
from proxy_snn_control.policy.runtime import Policy

KINDS = ('.mp4', '.gif')
GIF_RATE = 50


def check_name(path: Path) -> None:
    """Raise a UserError unless the name has the suffix of a film that can be written there."""
    if path.suffix.lower() not in KINDS:
        raise UserError(f'video file {path}: ends in {path.suffix!r}, expected .mp4 or .gif')
    check_target(path)


def make_drawable(task: TaskSpec, what: str = 'the camera', **options: Any) -> gymnasium.Env:
    """Make a task whose render() gives an image, uint8 [height, width, 3], without a screen.

    Where the environment variable MUJOCO_GL does not name the renderer and there is no
    screen, it is EGL, or OSMesa on a machine that has only that.

    Args:
        task: which.
        what: how the user calls the camera.
        options: what the task is made with, such as width, height and camera_name.

    Raises:
        UserError: there is no such task, this machine cannot draw it, or it has no such camera.
    """
    if not os.environ.get('DISPLAY'):
        only_osmesa = find_library('OSMesa') and not find_library('EGL')
        os.environ.setdefault('MUJOCO_GL', 'osmesa' if only_osmesa else 'egl')
    environment = task.make(render_mode='rgb_array', **options)
    _check_camera(task.env, what, options.get('camera_name'), environment.unwrapped)
    environment.reset(seed=0)
    try:
        image: Any = environment.render()
    except Exception as error:  # whatever the graphics libraries raise where there are none
        _drop_quietly(error)
        reason = ' '.join(str(error).split()) or type(error).__name__
        if not hasattr(environment.unwrapped, 'model'):  # no MuJoCo in it
            raise UserError(f'task {task.env!r} cannot be drawn ({reason})') from None
        tried = os.environ.get('MUJOCO_GL', 'the screen')
        raise UserError(
            f'task {task.env!r} cannot be drawn on this machine through {tried} ({reason}); set '
            'the environment variable MUJOCO_GL to egl, osmesa or glfw'
        ) from None
    shape, kind = getattr(image, 'shape', ()), getattr(image, 'dtype', type(image).__name__)
    if shape[2:] != (3,) or kind != np.uint8:
        raise UserError(
            f'task {task.env!r} draws {kind} of shape {shape}, expected uint8 [height, width, 3]'
        )
    return environment


def _check_camera(task: str, what: str, name: str | None, environment: Any) -> None:
    """Refuse a camera that the model does not have: Gymnasium would take the task's own view."""
    if not name or not hasattr(environment, 'model'):
        return
    model = environment.model
    names = [model.camera(i).name for i in range(model.ncam)]
    if name not in names:
        known = ', '.join(filter(None, names)) or 'none'
        raise UserError(
            f'{what} is {name!r}, expected a camera of task {task!r} ({known}) or '
            "nothing for the task's own view"
        )


def _drop_quietly(error: Exception) -> None:
    """Collect Gymnasium's half-made viewer, which would print a traceback at its own end."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    traceback.clear_frames(error.__traceback__)
    sys.unraisablehook = hook


@contextmanager
def _writer(path: Path, kind: str, frame: np.ndarray, rate: float) -> Iterator[Any]:
    """Yield a function that appends a frame to the film being written to `path`."""
    height, width, _ = frame.shape
    if kind == '.mp4':
        import imageio_ffmpeg

        path.touch()  # raises with the reason where it cannot be written, which FFmpeg does not
        film = imageio_ffmpeg.write_frames(
            str(path),
            (width, height),
            fps=rate,
            macro_block_size=2,  # H.264's colours come for 2 x 2 pixels
            output_params=['-f', 'mp4'],
        )
        film.send(None)
        try:
            yield lambda image: film.send(np.ascontiguousarray(image))
        finally:
            film.close()
        return
    from PIL import Image

    images: list[Image.Image] = []
    count = 0
    # A GIF's time goes in hundredths of a second, and browsers show no more than 50 frames in one.
    stride = math.ceil(rate / GIF_RATE)

    def append(frame: np.ndarray) -> None:
        nonlocal count
        if count % stride == 0:
            images.append(Image.fromarray(frame).quantize(dither=Image.Dither.NONE))
        count += 1

    with open(path, 'wb') as file:
        yield append
        ends = [round(100 * (i + 1) * stride / rate) for i in range(len(images))]
        times = [10 * (end - begin) for begin, end in zip([0, *ends], ends, strict=False)]
        images[0].save(
            file, 'GIF', save_all=True, append_images=images[1:], duration=times, loop=0
        )


def film(policy: Policy, task: TaskSpec, seed: int, path: Path, **look: Any) -> float:
    """Play the first evaluation episode of `seed` and write it to `path`; returns its return.

    Args:
        policy: what acts.
        task: which.
        seed: as of an evaluation.
        path: the file.
        look: width, height and camera_name, where they are not the task's own.

    Raises:
        UserError: the name ends in neither .mp4 nor .gif, this machine cannot draw the task, or
            the file cannot be written.
    """
    check_name(path)
    environment = make_drawable(task, '--camera', **look)
    rate = float(environment.metadata.get('render_fps', 30))
    observation, _ = environment.reset(seed=episode_seed(seed, 0))
    policy.reset()
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
