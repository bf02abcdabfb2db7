# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A robot in a Rerun recording: the MuJoCo model of a task, or a URDF, moved by its joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from proxy_snn_control.policy import UserError

# Geoms of higher groups are collision shapes and helpers, which MuJoCo's viewer hides too.
VISIBLE_GROUPS = 3


class Model:
    """The bodies of a Gymnasium MuJoCo task, placed by joint positions and the base's pose.

    A robot that moves through the world is drawn in the middle, at its height.

    Attributes:
        extent: the size of the robot, in metres.
    """

    def __init__(self, recording: Any, env: str) -> None:
        """Log the shapes once.

        Raises:
            UserError: the task cannot be made or has no MuJoCo model.
        """
        import mujoco
        from proxy_snn_control.learning.tasks import make_environment
        from proxy_snn_control.nodes.sensors import find_base

        environment = make_environment(env)
        model: Any = getattr(environment.unwrapped, 'model', None)
        if not isinstance(model, mujoco.MjModel):
            raise UserError(f'parameter env is {env!r}, expected a task with a MuJoCo model')
        self._model: Any = model
        self._mujoco, self._recording = mujoco, recording
        self._data = mujoco.MjData(self._model)
        self._addresses = {
            self._model.joint(i).name: int(self._model.jnt_qposadr[i])
            for i in range(self._model.njnt)
        }
        free = np.flatnonzero(self._model.jnt_type == int(mujoco.mjtJoint.mjJNT_FREE))
        self._free = int(self._model.jnt_qposadr[free[0]]) if len(free) else None
        self._base = find_base(self._model)
        self._moved = True
        # Under their parents, so that a page which has got a part of a step shows a whole robot.
        self._paths = ['robot']
        for body in range(1, self._model.nbody):
            self._paths.append(f'{self._paths[self._model.body_parentid[body]]}/body_{body}')
        self.extent = float(np.clip(self._model.stat.extent / 2, 0.5, 4.0))
        for geom in range(self._model.ngeom):
            self._log_shape(geom)

    def joints(self, positions: Mapping[str, float]) -> None:
        """Take positions of hinge and slide joints, in radians and metres, by name."""
        for name in positions.keys() & self._addresses.keys():
            self._data.qpos[self._addresses[name]] = positions[name]
        self._moved = True

    def base(self, pose: Sequence[float]) -> None:
        """Take the base's pose: x, y, z in metres, quaternion w, x, y, z."""
        if self._free is not None:
            begin, end = self._free, self._free + 7
            self._data.qpos[begin:end] = pose
            self._moved = True

    def flush(self) -> None:
        """Log where the bodies are, each in the axes of its parent."""
        import rerun as rr

        if not self._moved:
            return
        self._moved = False
        self._mujoco.mj_kinematics(self._model, self._data)
        middle = np.zeros(3)
        if self._base is not None:
            middle[:2] = self._data.xpos[self._base][:2]
        back, turn, place = np.zeros(4), np.zeros(4), np.zeros(3)
        for body in range(1, self._model.nbody):
            parent = self._model.body_parentid[body]
            origin = self._data.xpos[parent] if parent else middle
            self._mujoco.mju_negQuat(back, self._data.xquat[parent])
            self._mujoco.mju_mulQuat(turn, back, self._data.xquat[body])
            self._mujoco.mju_rotVecQuat(place, self._data.xpos[body] - origin, back)
            pose: dict[str, Any] = {
                'translation': place,
                'quaternion': np.roll(turn, -1),
            }  # x y z w
            self._recording.log(self._paths[body], rr.Transform3D(**pose))

    def _log_shape(self, geom: int) -> None:
        import rerun as rr

        model, kinds = self._model, self._mujoco.mjtGeom
        if model.geom_group[geom] >= VISIBLE_GROUPS:
            return
        kind, size = int(model.geom_type[geom]), model.geom_size[geom]
        color = [(model.geom_rgba[geom] * 255).astype(np.uint8)]
        look: dict[str, Any] = {'colors': color, 'fill_mode': 'solid'}
        place = {
            'translation': model.geom_pos[geom],
            'quaternion': np.roll(model.geom_quat[geom], -1),
        }
        # Rerun's capsules begin at their origin, MuJoCo's are about it.
        along = [[0.0, 0.0, -size[1]]]
        if kind == kinds.mjGEOM_SPHERE:
            shape: Any = rr.Ellipsoids3D(radii=[size[0]], **look)
        elif kind == kinds.mjGEOM_ELLIPSOID:
            shape = rr.Ellipsoids3D(half_sizes=[size], **look)
        elif kind == kinds.mjGEOM_CAPSULE:
            shape = rr.Capsules3D(
                lengths=[2 * size[1]], radii=[size[0]], translations=along, **look
            )
        elif kind == kinds.mjGEOM_CYLINDER:
            shape = rr.Cylinders3D(lengths=[2 * size[1]], radii=[size[0]], **look)
        elif kind == kinds.mjGEOM_BOX:
            shape = rr.Boxes3D(half_sizes=[size], **look)
        elif kind == kinds.mjGEOM_MESH:
            mesh = int(model.geom_dataid[geom])
            vertices = model.mesh_vertadr[mesh] + np.arange(model.mesh_vertnum[mesh])
            faces = model.mesh_faceadr[mesh] + np.arange(model.mesh_facenum[mesh])
            shape = rr.Mesh3D(
                vertex_positions=model.mesh_vert[vertices],
                triangle_indices=model.mesh_face[faces],
                albedo_factor=color[0],
            )
        else:
            return  # a plane: the page's grid is at the same height
        body = int(model.geom_bodyid[geom])
        path = f'{self._paths[body]}/geom_{geom}'
        self._recording.log(path, rr.Transform3D(**place), shape, static=True)


class Urdf:
    """A URDF's links, placed by joint positions."""

    def __init__(self, recording: Any, path: str) -> None:
        """Log the shapes once.

        Raises:
            UserError: the file cannot be read as a URDF.
        """
        from rerun.urdf import UrdfTree

        if not Path(path).is_file():
            raise UserError(f'parameter urdf is {path!r}: no such file')
        self._recording = recording
        try:
            self._tree = UrdfTree.from_file_path(path, entity_path_prefix='robot')
            self._tree.log_urdf_to_recording(recording)
        except Exception as error:
            reason = ' '.join(str(error).split())
            raise UserError(f'urdf {path}: {reason}, expected a URDF file') from error
        self._positions: dict[str, float] = {}
        self.extent = 2.0

    def joints(self, positions: Mapping[str, float]) -> None:
        """Take positions of joints, in radians and metres, by name."""
        self._positions.update(positions)

    def base(self, pose: Sequence[float]) -> None:
        """Do nothing: the robot is drawn in its own frame, wherever the base is."""

    def flush(self) -> None:
        """Log where the links are."""
        positions, self._positions = self._positions, {}
        for joint in self._tree.joints():
            if joint.name in positions:
                place = joint.compute_transform(positions[joint.name])
                self._recording.log(f'robot/joints/{joint.name}', place)
