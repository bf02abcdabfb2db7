# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The robot file: which topics make up the policy's observation, and what its actions become.

docs/robots.md describes the YAML, config/robots has examples. What is read here is checked against
the policy; what only shows in the messages is checked by readers.py and command.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
import reprlib

from proxy_snn_control.control.section import Section
from proxy_snn_control.policy import PolicySpec, UserError
from proxy_snn_control.share import robot_file
from proxy_snn_control.yaml_file import read_yaml

VECTOR = 'std_msgs/Float64MultiArray'
JOINT_STATE = 'sensor_msgs/JointState'
TRAJECTORY = 'trajectory_msgs/JointTrajectory'
# Of these a term names a field by its path, as `ros2 topic echo --field` does.
FIELD_SOURCES = (
    'sensor_msgs/Imu',
    'nav_msgs/Odometry',
    'geometry_msgs/Twist',
    'geometry_msgs/TwistStamped',
    'geometry_msgs/Pose',
    'geometry_msgs/PoseStamped',
)
SOURCES = (VECTOR, JOINT_STATE, *FIELD_SOURCES)
FIELD_COMMANDS = ('geometry_msgs/Twist', 'geometry_msgs/TwistStamped')
COMMANDS = (VECTOR, TRAJECTORY, *FIELD_COMMANDS)
JOINT_FIELDS = ('position', 'velocity', 'effort')
# What a joint trajectory has for each, and what a command's numbers are.
TRAJECTORY_FIELDS = {'positions': 'position', 'velocities': 'velocity', 'effort': 'effort'}
FUNCTIONS = ('sin', 'cos')
FRAMES = ('world',)
ANGLES = ('roll', 'pitch', 'yaw')
AXES = ('x', 'y', 'z')
# What is along the body's axes, of messages that have its orientation, too.
BODY_VECTORS = (
    *(f'twist.twist.{part}' for part in ('linear', 'angular')),
    *('linear_acceleration', 'angular_velocity'),
)
ORDERS = ('step', 'group')
ENDS = ('last', 'first')
LONGEST_HISTORY = 1000
TWIST_FIELDS = tuple(f'{part}.{axis}' for part in ('linear', 'angular') for axis in 'xyz')


@dataclass(frozen=True)
class Source:
    """A topic that parts of the observation come from.

    Attributes:
        timeout: seconds without a message after which it is stale.
        reliable: request reliable delivery; best effort matches every publisher.
        hold: its last message counts until the timeout, whatever the others publish meanwhile.
        size: how many numbers a vector must have, where that is known.
    """

    name: str
    type_name: str
    topic: str
    timeout: float
    reliable: bool = False
    hold: bool = False
    size: int | None = None


@dataclass(frozen=True)
class Term:
    """One dimension of the observation: a number from a source, or a previous action.

    Its value is function(wrap(scale * number + offset)).

    Attributes:
        name: the policy's name of the dimension.
        source: name of the source, or None for a previous action.
        number: where the number is in the source's messages: an index of a vector, a joint and
            its field, the path of a field; for a previous action the action's index.
        wrap: bring an angle into [-pi, pi).
        function: "", "sin" or "cos".
        unwrap: let an angle go on beyond a half turn, counted from the first message.
        frame: "world" to turn a vector's component from the body's axes into the world's.
        raw: of a previous action, what the policy wanted and not what was sent.
    """

    name: str
    source: str | None
    number: int | tuple[str, str] | str
    scale: float = 1.0
    offset: float = 0.0
    wrap: bool = False
    function: str = ''
    unwrap: bool = False
    frame: str = ''
    raw: bool = False


@dataclass(frozen=True)
class Vector:
    """Numbers of one step that are a vector in axes that a body's orientation turns.

    Attributes:
        label: topic and path of the vector.
        frame: "world" if the robot file turns it into the world's axes, "" if it does not.
        axes: where x, y, z are in the observation, -1 if not in it; each with scale and offset.
        angles: where roll, pitch and yaw are, likewise.
    """

    label: str
    frame: str
    axes: tuple[tuple[int, float, float], ...]
    angles: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class Output:
    """One number of the command: scale * action + offset, clipped to the limits.

    Attributes:
        action: index of the policy's action.
        place: a joint's name, a field's path, or "" in a vector.
        low, high: the limits, in the command's units.
        joint: the joint that it moves, where that is known.
    """

    action: int
    place: str
    scale: float
    offset: float
    low: float
    high: float
    joint: str = ''


@dataclass(frozen=True)
class CommandTopic:
    """What the actions become, in the order of the outputs.

    Attributes:
        field: what a joint trajectory's numbers are, one of TRAJECTORY_FIELDS.
        time_from_start: seconds in which a joint trajectory's point is to be reached.
        frame_id: of the header, where the message has one.
        interface: what the numbers are to the joints, one of JOINT_FIELDS; "" if not known.
        urdf: a file with the joints' limits, or "".
    """

    type_name: str
    topic: str
    outputs: tuple[Output, ...]
    field: str = ''
    time_from_start: float = 0.0
    frame_id: str = ''
    interface: str = ''
    urdf: str = ''

    @property
    def meaning(self) -> tuple[object, ...]:
        """What its numbers are to the robot, whatever the policy, scales and limits."""
        places = tuple((output.place, output.joint) for output in self.outputs)
        return self.type_name, self.field, self.interface, places


@dataclass(frozen=True)
class Robot:
    """A robot file, read and checked.

    Attributes:
        terms: the dimensions of the observation, or with a history those of one step.
        layout: with a history, for each dimension of the observation how many steps ago, and which
            of the terms.
    """

    sources: tuple[Source, ...]
    terms: tuple[Term, ...]
    command: CommandTopic
    layout: tuple[tuple[int, int], ...] = ()

    def given_by_source(self) -> list[tuple[str, list[int]]]:
        """Topics of the sources that do not hold, with the dimensions that they give now."""
        present = self.layout or [(0, i) for i in range(len(self.terms))]
        return [
            (
                source.topic,
                [
                    place
                    for place, (ago, i) in enumerate(present)
                    if ago == 0 and self.terms[i].source == source.name
                ],
            )
            for source in self.sources
            if not source.hold
        ]

    def vectors(self) -> list[Vector]:
        """Return the vectors of which the observation has the angles, too, that turn them.

        Angles of the vector's own source; where that has none, those of the one source that has.
        """
        layout = self.layout or [(0, i) for i in range(len(self.terms))]
        topics = {each.name: each.topic for each in self.sources}
        found: dict[tuple[int, str, str, str], dict[str, tuple[int, float, float]]] = {}
        angles: dict[int, dict[str, dict[str, tuple[int, float, float]]]] = {}
        for place, (ago, i) in enumerate(layout):
            term = self.terms[i]
            if not term.source or not isinstance(term.number, str) or term.function:
                continue
            parent, _, last = term.number.rpartition('.')
            here = (place, term.scale, term.offset)
            if last in ANGLES and term.scale:
                angles.setdefault(ago, {}).setdefault(term.source, {})[last] = here
            elif parent in BODY_VECTORS and term.scale:
                found.setdefault((ago, term.source, parent, term.frame), {})[last] = here
        nowhere, vectors = (-1, 1.0, 0.0), []
        for (ago, source, parent, frame), axes in found.items():
            given = angles.get(ago, {})
            turning = given.get(source) or (next(iter(given.values())) if len(given) == 1 else {})
            if turning:
                vectors.append(
                    Vector(
                        f'topic {topics[source]}: {parent}',
                        frame,
                        tuple(axes.get(each, nowhere) for each in AXES),
                        tuple(turning.get(each, nowhere) for each in ANGLES),
                    )
                )
        return vectors

    def measured(self, source: Source) -> tuple[str, ...]:
        """Return the joints, [outputs], whose position the command has to know from this source.

        It begins from there if it sets positions, and brakes before their limits. An output
        without such a joint has ""; nothing if there is none at all.
        """
        command = self.command
        to_measure = (
            command.interface == 'position' or command.type_name == TRAJECTORY or command.urdf
        )
        if source.type_name != JOINT_STATE or not to_measure:
            return ()
        joints = tuple(output.joint for output in self.command.outputs)
        return joints if any(joints) else ()


def observation_names(spec: PolicySpec) -> tuple[str, ...]:
    """Return the policy's names of observation dimensions, or their numbers if it has none."""
    return spec.observation_names or tuple(
        f'observation[{i}]' for i in range(spec.observation_size)
    )


def action_names(spec: PolicySpec) -> tuple[str, ...]:
    """Return the policy's names of its actions, or their numbers where it has none."""
    return spec.action_names or tuple(f'action[{i}]' for i in range(spec.action_size))


def plain_robot(spec: PolicySpec, timeout: float, reliable: bool) -> Robot:
    """Return what is there without a robot file: vectors on the topics observation and command."""
    size = spec.observation_size
    source = Source('observation', VECTOR, 'observation', timeout, reliable, size=size)
    terms = tuple(Term(name, 'observation', i) for i, name in enumerate(observation_names(spec)))
    limits = zip(spec.action_low, spec.action_high, strict=True)
    outputs = tuple(Output(i, '', 1.0, 0.0, low, high) for i, (low, high) in enumerate(limits))
    return Robot((source,), terms, CommandTopic(VECTOR, 'command', outputs))


def load_robot(path: str, spec: PolicySpec, timeout: float, reliable: bool) -> Robot:
    """Read a robot file and check it against the policy.

    Args:
        path: the YAML file, or the name of one of the package's.
        spec: the policy it is for.
        timeout: seconds, for sources that have none of their own.
        reliable: request reliable delivery of every source.

    Raises:
        UserError: no such file, no such setting, a wrong value, or an observation or action of
            the policy that is not in the file.
    """
    known = ('sources', 'observation', 'history', 'command')
    path = robot_file(path)
    content = Section(f'robot file {path}', read_yaml('robot file', path), known)
    described = content.section('sources')
    sources = tuple(
        _source(name, described.section(name), timeout, reliable) for name in described.names
    )
    by_name = {source.name: source for source in sources}
    history = content.section('history') if 'history' in content else None
    terms, layout = _terms(content.section('observation'), history, spec, by_name)
    command = _command(content.section('command'), spec, Path(path).parent)
    for source in sources:
        if source.topic == command.topic:
            raise UserError(f'robot file {path}: topic {source.topic} is source and command, too')
    return Robot(sources, terms, command, layout)


def robot_names(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a robot file's names of observations and actions, in its order: for a policy to come.

    Raises:
        UserError: no such file, no names in it, or a history, which is then the policy's own.
    """
    path = robot_file(path)
    where = f'robot file {path}'
    content = Section(where, read_yaml('robot file', path))
    if 'history' in content:
        raise UserError(
            f'{where}: has a history, expected none for training: the setting history does that'
        )
    outputs = content.section('command').get('outputs')
    if not isinstance(outputs, list) or not outputs:
        raise UserError(f'{where}: command: outputs is {reprlib.repr(outputs)}, expected a list')
    actions = [
        Section(f'{where}: command: outputs[{i}]', each).text('action')
        for i, each in enumerate(outputs)
    ]
    return tuple(content.section('observation').names), tuple(dict.fromkeys(actions))


def _source(name: str, section: Section, timeout: float, reliable: bool) -> Source:
    section.only('type', 'topic', 'timeout', 'reliable', 'hold')
    return Source(
        name=name,
        type_name=_type(section, SOURCES),
        topic=section.topic(),
        timeout=section.seconds('timeout', timeout),
        reliable=reliable or section.flag('reliable'),
        hold=section.flag('hold'),
    )


def _type(section: Section, known: Collection[str]) -> str:
    """Return the message type; `ros2 topic type` has a /msg/ in it."""
    written = section.text('type')
    if written.replace('/msg/', '/') in known:
        return written.replace('/msg/', '/')
    return section.text('type', known)


def _terms(
    section: Section, history: Section | None, spec: PolicySpec, sources: dict[str, Source]
) -> tuple[tuple[Term, ...], tuple[tuple[int, int], ...]]:
    """Return the terms in the policy's order, each dimension once; the history's layout."""
    terms = {name: _term(section.section(name), name, spec, sources) for name in section.names}
    unused = set(sources) - {term.source for term in terms.values()}
    if unused:
        raise UserError(f'{section.where}: no entry uses the source {min(unused)}')
    if history is not None:
        return tuple(terms.values()), _layout(history, list(terms), spec)
    if spec.observation_names is None:
        if len(terms) != spec.observation_size:
            raise UserError(
                f'{section.where}: has {len(terms)} entries, but the policy has '
                f'{spec.observation_size} observations (without names)'
            )
        return tuple(terms.values()), ()
    _same_names(section.where, 'observation', terms, spec.observation_names)
    return tuple(terms[name] for name in spec.observation_names), ()


def _layout(
    section: Section, names: Sequence[str], spec: PolicySpec
) -> tuple[tuple[int, int], ...]:
    """Where each dimension of an observation with history is: how many steps ago, which entry."""
    section.only('steps', 'by', 'newest')
    steps = section.number('steps')
    if steps != int(steps) or not 2 <= steps <= LONGEST_HISTORY:
        raise UserError(
            f'{section.where}: steps is {steps:g}, expected a whole number from 2 to '
            f'{LONGEST_HISTORY}'
        )
    if len(names) * steps != spec.observation_size:
        raise UserError(
            f'{section.where}: {len(names)} entries and {steps:g} steps make '
            f'{len(names) * steps:g} numbers, but the policy has {spec.observation_size} '
            'observations'
        )
    by, newest = section.text('by', ORDERS, 'step'), section.text('newest', ENDS, 'last')
    agos = list(range(int(steps)))
    if newest == 'last':
        agos.reverse()
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(name.partition('.')[0] if by == 'group' else '', []).append(i)
    layout = [(ago, i) for group in groups.values() for ago in agos for i in group]
    if spec.observation_names is None:
        return tuple(layout)
    # The policy's names fix where each is; older steps have how many steps ago behind the name.
    where = {f'{names[i]}[-{ago}]' if ago else names[i]: (ago, i) for ago, i in layout}
    _same_names(section.where, 'observation', where, spec.observation_names)
    return tuple(where[name] for name in spec.observation_names)


def _same_names(where: str, kind: str, given: Collection[str], wanted: Collection[str]) -> None:
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    if missing:
        also = f'; {", ".join(unknown)} is none of its {kind}s' if unknown else ''
        raise UserError(f"{where}: lacks the policy's {kind} {', '.join(missing)}{also}")
    if unknown:
        raise UserError(
            f'{where}: {", ".join(unknown)} is no {kind} of the policy, whose are '
            f'{", ".join(wanted)}'
        )


def _term(section: Section, name: str, spec: PolicySpec, sources: dict[str, Source]) -> Term:
    if 'previous_action' in section:
        section.only('previous_action', 'raw', 'scale', 'offset')
        action = section.text('previous_action', action_names(spec))
        return Term(
            name,
            None,
            action_names(spec).index(action),
            section.number('scale', 1.0),
            section.number('offset', 0.0),
            raw=section.flag('raw'),
        )
    source = sources[section.text('source', sources)]
    common = ('source', 'scale', 'offset', 'wrap', 'unwrap', 'function')
    number: int | tuple[str, str] | str
    frame = ''
    if source.type_name == VECTOR:
        section.only('index', *common)
        index = section.get('index')
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 2**20:
            found = reprlib.repr(index)
            raise UserError(f'{section.where}: index is {found}, expected a whole number from 0')
        number = index
    elif source.type_name == JOINT_STATE:
        section.only('joint', 'field', *common)
        number = (section.text('joint'), section.text('field', JOINT_FIELDS))
    else:
        section.only('field', 'frame', *common)
        number = section.text('field')
        frame = section.text('frame', FRAMES, '')
    if section.flag('wrap') and section.flag('unwrap'):
        raise UserError(f'{section.where}: wrap and unwrap are both true, expected one of them')
    return Term(
        name,
        source.name,
        number,
        section.number('scale', 1.0),
        section.number('offset', 0.0),
        section.flag('wrap'),
        section.text('function', FUNCTIONS, ''),
        section.flag('unwrap'),
        frame,
    )


def _command(section: Section, spec: PolicySpec, folder: Path) -> CommandTopic:
    kind = _type(section, COMMANDS)
    extra: tuple[str, ...] = {
        VECTOR: ('interface', 'urdf'),
        TRAJECTORY: ('field', 'time_from_start', 'frame_id', 'urdf'),
        'geometry_msgs/TwistStamped': ('frame_id',),
    }.get(kind, ())
    section.only('type', 'topic', 'outputs', *extra)
    described = section.get('outputs')
    if not isinstance(described, list) or not described:
        raise UserError(f'{section.where}: outputs is {reprlib.repr(described)}, expected a list')
    interface = section.text('interface', JOINT_FIELDS, '') if kind == VECTOR else ''
    outputs = tuple(
        _output(Section(f'{section.where}: outputs[{i}]', item), kind, bool(interface), spec)
        for i, item in enumerate(described)
    )
    names = action_names(spec)
    used = [names[output.action] for output in outputs]
    _same_names(f'{section.where}: outputs', 'action', used, names)
    places = [output.place for output in outputs if output.place]
    joints = [output.joint for output in outputs if output.joint]
    for what in (used, places, joints):
        for name in what:
            if what.count(name) > 1:
                raise UserError(f'{section.where}: outputs has {name} twice')
    field = section.text('field', TRAJECTORY_FIELDS, 'positions') if kind == TRAJECTORY else ''
    urdf = section.text('urdf', default='')
    if urdf and not (joints and (interface or field)):
        raise UserError(
            f'{section.where}: urdf is {urdf!r}, but its limits need interface, and joint in '
            'every output'
        )
    return CommandTopic(
        kind,
        section.topic(),
        outputs,
        field,
        section.seconds('time_from_start') if kind == TRAJECTORY else 0.0,
        section.text('frame_id', default=''),
        TRAJECTORY_FIELDS.get(field, interface),
        str(folder / urdf) if urdf else '',
    )


def _output(section: Section, kind: str, has_interface: bool, spec: PolicySpec) -> Output:
    place = {VECTOR: '', TRAJECTORY: 'joint'}.get(kind, 'field')
    names = ['joint'] if has_interface else filter(None, [place])
    section.only('action', 'scale', 'offset', 'limits', *names)
    action = action_names(spec).index(section.text('action', action_names(spec)))
    scale, offset = section.number('scale', 1.0), section.number('offset', 0.0)
    if scale == 0:
        raise UserError(f'{section.where}: scale is 0, expected another number')
    ends = (spec.action_low[action], spec.action_high[action])
    least, most = low, high = sorted(scale * end + offset for end in ends)
    if 'limits' in section:
        low, high = section.numbers('limits', 2)
        if low > high:
            raise UserError(
                f'{section.where}: limits is [{low}, {high}], expected the lower limit first'
            )
        if low > most or high < least:
            raise UserError(
                f'{section.where}: limits is [{low}, {high}], but scale and offset give {least} '
                f'to {most}, expected some of that within them'
            )
    allowed = TWIST_FIELDS if place == 'field' else ()
    where = section.text(place, allowed) if place else ''
    joint = where if kind == TRAJECTORY else section.text('joint', default='')
    return Output(action, where, scale, offset, low, high, joint)
