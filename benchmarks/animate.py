# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
r"""An animation of a policy at work, with the spikes of its layers beside the robot.

    pip install -c constraints.txt '.[sim]'
    python benchmarks/animate.py benchmarks/policies/lif-HalfCheetah-v4.safetensors \
        --out docs/images/half_cheetah.gif

Left is the task's own camera; right a raster for each layer, a row for each neuron and a column
for each time step, the newest at the right. The picture is drawn as a GIF of few colours.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from proxy_snn_control.learning.tasks import clip_action, TaskSpec
from proxy_snn_control.learning.video import make_drawable
from proxy_snn_control.policy import load_policy

HEIGHT, COLUMNS, GAP = 280, 240, 6
INK, PAPER = (24, 78, 119), (246, 247, 249)
COLOURS = 24


def raster(kept: list[np.ndarray]) -> np.ndarray:
    """Return the layers' spikes [neurons, COLUMNS] as one picture, uint8 [HEIGHT, COLUMNS, 3]."""
    heights = np.full(len(kept), (HEIGHT - GAP * (len(kept) - 1)) // len(kept))
    heights[-1] += HEIGHT - GAP * (len(kept) - 1) - heights.sum()
    picture = np.full((HEIGHT, COLUMNS, 3), 255, np.uint8)
    top = 0
    for layer, height in zip(kept, heights, strict=True):
        rows = np.linspace(0, len(layer) - 1, height).astype(int)
        fired = layer[rows][:, :, None]
        end = top + height
        picture[top:end] = np.where(fired, INK, PAPER)
        top = end + GAP
    return picture


def main() -> None:
    """Play an episode and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('policy')
    parser.add_argument('--env', help="the task; the policy's own by default")
    parser.add_argument('--out', required=True)
    parser.add_argument('--steps', type=int, default=80, help='frames, one a control step')
    parser.add_argument(
        '--skip', type=int, default=50, help='control steps before the first frame'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--camera', default='track', help="of the model; empty for the task's own view"
    )
    options = parser.parse_args()
    policy = load_policy(options.policy)
    env = options.env or policy.spec.provenance['env']
    camera = {'camera_name': options.camera} if options.camera else {}
    environment = make_drawable(TaskSpec(env), width=480, height=HEIGHT, **camera)
    observation, _ = environment.reset(seed=options.seed)
    kept = [np.zeros((size, COLUMNS), bool) for size in policy.spec.layer_sizes]
    frames = []
    for step in range(options.skip + options.steps):
        action = policy.act(observation)
        for layer, spikes in zip(kept, policy.spikes, strict=True):
            new = len(spikes)
            layer[:, :-new] = layer[:, new:]
            layer[:, -new:] = spikes.T
        if step >= options.skip:
            frames.append(np.hstack([environment.render(), raster(kept)]))
        observation, _, terminal, truncated, _ = environment.step(clip_action(environment, action))
        if terminal or truncated:
            break
    images = [Image.fromarray(each) for each in frames]
    # One palette for all frames, so that what does not change takes no bytes.
    palette = images[len(images) // 2].quantize(COLOURS, dither=Image.Dither.NONE)
    drawn = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in images]
    period = max(20, round(1000 * (policy.spec.control_period or 0.05)))
    drawn[0].save(
        options.out, save_all=True, append_images=drawn[1:], duration=period, loop=0, optimize=True
    )
    print(f'{options.out}: {len(drawn)} frames, {Path(options.out).stat().st_size / 1e6:.2f} MB')


if __name__ == '__main__':
    main()
