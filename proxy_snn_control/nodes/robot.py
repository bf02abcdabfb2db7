"""The robot file: which topics make up the policy's observation, and what its actions become.

docs/robots.md describes the YAML, config/robots has examples. What is read here is checked against
the policy; what only the messages themselves can tell is checked by observation.py and command.py.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

from proxy_snn_control.policy import PolicySpec, UserError
from proxy_snn_control.yaml_file import read_yaml

VECTOR = "std_msgs/Float64MultiArray"
JOINT_STATE = "sensor_msgs/JointState"
TRAJECTORY = "trajectory_msgs/JointTrajectory"
# Of these a term names a field by its path, as `ros2 topic echo --field` does.
FIELD_SOURCES = (
    "sensor_msgs/Imu",
    "nav_msgs/Odometry",
    "geometry_msgs/Twist",
    "geometry_msgs/TwistStamped",
    "geometry_msgs/Pose",
    "geometry_msgs/PoseStamped",
)
SOURCES = (VECTOR, JOINT_STATE, *FIELD_SOURCES)
FIELD_COMMANDS = ("geometry_msgs/Twist", "geometry_msgs/TwistStamped")
COMMANDS = (VECTOR, TRAJECTORY, *FIELD_COMMANDS)
JOINT_FIELDS = ("position", "velocity", "effort")
TRAJECTORY_FIELDS = ("positions", "velocities", "effort")
FUNCTIONS = ("sin", "cos")
TWIST_FIELDS = tuple(f"{part}.{axis}" for part in ("linear", "angular") for axis in "xyz")
TIMES = (0.001, 3600.0)
LARGEST = 1e9
# What YAML 1.1 as PyYAML reads it takes for text: 1e-3.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


@dataclass(frozen=True)
class Source:
    """A topic that parts of the observation come from.

    Attributes:
        timeout: seconds without a message after which it is stale.
        reliable: ask for reliable delivery; best effort hears every publisher.
        size: how many numbers a vector must have, where that is known.
    """

    name: str
    type: str
    topic: str
    timeout: float
    reliable: bool = False
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
    """

    name: str
    source: str | None
    number: int | tuple[str, str] | str
    scale: float = 1.0
    offset: float = 0.0
    wrap: bool = False
    function: str = ""


@dataclass(frozen=True)
class Output:
    """One number of the command: scale * action + offset, clipped to the limits.

    Attributes:
        action: index of the policy's action.
        place: a joint's name, a field's path, or "" in a vector.
        low, high: the limits, in the command's units.
    """

    action: int
    place: str
    scale: float
    offset: float
    low: float
    high: float


@dataclass(frozen=True)
class CommandTopic:
    """What the actions become, in the order of the outputs.

    Attributes:
        field: what a joint trajectory's numbers are, one of TRAJECTORY_FIELDS.
        time_from_start: seconds in which a joint trajectory's point is to be reached.
        frame_id: of the header, where the message has one.
    """

    type: str
    topic: str
    outputs: tuple[Output, ...]
    field: str = ""
    time_from_start: float = 0.0
    frame_id: str = ""


@dataclass(frozen=True)
class Robot:
    """A robot file, read and checked."""

    sources: tuple[Source, ...]
    terms: tuple[Term, ...]
    command: CommandTopic


def observation_names(spec: PolicySpec) -> tuple[str, ...]:
    """The policy's names of its observation dimensions, or their numbers where it has none."""
    return spec.observation_names or tuple(
        f"observation[{i}]" for i in range(spec.observation_size)
    )


def action_names(spec: PolicySpec) -> tuple[str, ...]:
    """The policy's names of its actions, or their numbers where it has none."""
    return spec.action_names or tuple(f"action[{i}]" for i in range(spec.action_size))


def plain_robot(spec: PolicySpec, timeout: float, reliable: bool) -> Robot:
    """What is there without a robot file: vectors on the topics observation and command."""
    size = spec.observation_size
    source = Source("observation", VECTOR, "observation", timeout, reliable, size)
    terms = tuple(Term(name, "observation", i) for i, name in enumerate(observation_names(spec)))
    limits = zip(spec.action_low, spec.action_high, strict=True)
    outputs = tuple(Output(i, "", 1.0, 0.0, low, high) for i, (low, high) in enumerate(limits))
    return Robot((source,), terms, CommandTopic(VECTOR, "command", outputs))


def load_robot(path: str, spec: PolicySpec, timeout: float, reliable: bool) -> Robot:
    """Read a robot file and check it against the policy.

    Args:
        path: the YAML file.
        spec: the policy it is for.
        timeout: seconds, for sources that do not say.
        reliable: ask for reliable delivery of every source.

    Raises:
        UserError: no such file, no such setting, a wrong value, or an observation or action of
            the policy that the file does not speak of.
    """
    content = _Section(
        f"robot file {path}", read_yaml("robot file", path), ("sources", "observation", "command")
    )
    described = content.section("sources")
    sources = tuple(
        _source(name, described.section(name), timeout, reliable) for name in described.names
    )
    terms = _terms(
        content.section("observation"), spec, {source.name: source for source in sources}
    )
    command = _command(content.section("command"), spec)
    for source in sources:
        if source.topic == command.topic:
            raise UserError(f"robot file {path}: topic {source.topic} is source and command, too")
    return Robot(sources, terms, command)


class _Section:
    """A mapping of the file that knows where it stands, and what it may hold."""

    def __init__(self, where: str, content: Any, known: Collection[str] | None = None) -> None:
        self.where = where
        if not isinstance(content, dict) or not content:
            found = reprlib.repr(content) if content else "empty"
            raise UserError(f"{where}: is {found}, expected lines of 'name: value'")
        for name in content:
            if not isinstance(name, str):
                raise UserError(f"{where}: has the name {name!r}, expected text; quote it")
        self._content = content
        if known is not None and (unknown := [name for name in content if name not in known]):
            raise UserError(
                f"{where}: {unknown[0]!r} does not exist, expected any of {', '.join(known)}"
            )

    @property
    def names(self) -> list[str]:
        return list(self._content)

    def __contains__(self, name: str) -> bool:
        return name in self._content

    def get(self, name: str) -> Any:
        if name not in self._content:
            raise UserError(f"{self.where}: {name} is missing")
        return self._content[name]

    def section(self, name: str, known: Collection[str] | None = None) -> _Section:
        return _Section(f"{self.where}: {name}", self.get(name), known)

    def only(self, *known: str) -> None:
        _Section(self.where, self._content, known)

    def text(self, name: str, allowed: Collection[str] = (), default: str | None = None) -> str:
        value = self._content.get(name, default) if default is not None else self.get(name)
        if not isinstance(value, str) or (value == "" and default is None):
            raise UserError(f"{self.where}: {name} is {reprlib.repr(value)}, expected text")
        if allowed and value not in allowed:
            near = difflib.get_close_matches(value, allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(
                f"{self.where}: {name} is {value!r}, expected one of {', '.join(allowed)}{hint}"
            )
        return value

    def flag(self, name: str) -> bool:
        value = self._content.get(name, False)
        if not isinstance(value, bool):
            found = reprlib.repr(value)
            raise UserError(f"{self.where}: {name} is {found}, expected true or false")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self._content.get(name, default) if default is not None else self.get(name)
        return self._number(name, value)

    def seconds(self, name: str, default: float | None = None) -> float:
        value = self.number(name, default)
        if not TIMES[0] <= value <= TIMES[1]:
            raise UserError(
                f"{self.where}: {name} is {value}, expected seconds from {TIMES[0]} to {TIMES[1]}"
            )
        return value

    def topic(self) -> str:
        value = self.text("topic")
        try:
            validate_topic_name(value)
        except InvalidTopicNameException as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{self.where}: topic is {value!r}, which is none: {reason}") from None
        return value

    def numbers(self, name: str, length: int) -> list[float]:
        value = self.get(name)
        if not isinstance(value, list) or len(value) != length:
            found = reprlib.repr(value)
            raise UserError(f"{self.where}: {name} is {found}, expected {length} numbers")
        return [self._number(name, item) for item in value]

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = float(value)
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not fits or not abs(value) <= LARGEST:
            raise UserError(
                f"{self.where}: {name} is {reprlib.repr(value)}, expected a finite number, at most "
                f"{LARGEST:g}"
            )
        return float(value)


def _source(name: str, section: _Section, timeout: float, reliable: bool) -> Source:
    section.only("type", "topic", "timeout", "reliable")
    return Source(
        name=name,
        type=_type(section, SOURCES),
        topic=section.topic(),
        timeout=section.seconds("timeout", timeout),
        reliable=reliable or section.flag("reliable"),
    )


def _type(section: _Section, known: Collection[str]) -> str:
    """The message type; `ros2 topic type` has a /msg/ in it."""
    written = section.text("type")
    if written.replace("/msg/", "/") in known:
        return written.replace("/msg/", "/")
    return section.text("type", known)


def _terms(section: _Section, spec: PolicySpec, sources: dict[str, Source]) -> tuple[Term, ...]:
    """The terms in the policy's order, each dimension exactly once."""
    terms = {name: _term(section.section(name), name, spec, sources) for name in section.names}
    unused = set(sources) - {term.source for term in terms.values()}
    if unused:
        raise UserError(f"{section.where}: no entry uses the source {min(unused)}")
    if spec.observation_names is None:
        if len(terms) != spec.observation_size:
            raise UserError(
                f"{section.where}: has {len(terms)} entries, but the policy has "
                f"{spec.observation_size} observations (without names)"
            )
        return tuple(terms.values())
    _same_names(section.where, "observation", terms, spec.observation_names)
    return tuple(terms[name] for name in spec.observation_names)


def _same_names(where: str, kind: str, given: Collection[str], wanted: Collection[str]) -> None:
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    if missing:
        also = f"; {', '.join(unknown)} is none of its {kind}s" if unknown else ""
        raise UserError(f"{where}: lacks the policy's {kind} {', '.join(missing)}{also}")
    if unknown:
        raise UserError(
            f"{where}: {', '.join(unknown)} is no {kind} of the policy, whose are "
            f"{', '.join(wanted)}"
        )


def _term(section: _Section, name: str, spec: PolicySpec, sources: dict[str, Source]) -> Term:
    if "previous_action" in section:
        section.only("previous_action", "scale", "offset")
        action = section.text("previous_action", action_names(spec))
        return Term(
            name,
            None,
            action_names(spec).index(action),
            section.number("scale", 1.0),
            section.number("offset", 0.0),
        )
    source = sources[section.text("source", sources)]
    common = ("source", "scale", "offset", "wrap", "function")
    number: int | tuple[str, str] | str
    if source.type == VECTOR:
        section.only("index", *common)
        index = section.get("index")
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            found = reprlib.repr(index)
            raise UserError(f"{section.where}: index is {found}, expected a whole number from 0")
        number = index
    elif source.type == JOINT_STATE:
        section.only("joint", "field", *common)
        number = (section.text("joint"), section.text("field", JOINT_FIELDS))
    else:
        section.only("field", *common)
        number = section.text("field")
    return Term(
        name,
        source.name,
        number,
        section.number("scale", 1.0),
        section.number("offset", 0.0),
        section.flag("wrap"),
        section.text("function", ("", *FUNCTIONS), ""),
    )


def _command(section: _Section, spec: PolicySpec) -> CommandTopic:
    kind = _type(section, COMMANDS)
    extra: tuple[str, ...] = ()
    if kind == TRAJECTORY:
        extra = ("field", "time_from_start", "frame_id")
    elif kind == "geometry_msgs/TwistStamped":
        extra = ("frame_id",)
    section.only("type", "topic", "outputs", *extra)
    described = section.get("outputs")
    if not isinstance(described, list) or not described:
        raise UserError(f"{section.where}: outputs is {reprlib.repr(described)}, expected a list")
    outputs = tuple(
        _output(_Section(f"{section.where}: outputs[{i}]", item), kind, spec)
        for i, item in enumerate(described)
    )
    names = action_names(spec)
    used = [names[output.action] for output in outputs]
    _same_names(f"{section.where}: outputs", "action", used, names)
    for what in (used, [output.place for output in outputs if output.place]):
        for name in what:
            if what.count(name) > 1:
                raise UserError(f"{section.where}: outputs has {name} twice")
    return CommandTopic(
        kind,
        section.topic(),
        outputs,
        section.text("field", TRAJECTORY_FIELDS, "positions") if kind == TRAJECTORY else "",
        section.seconds("time_from_start") if kind == TRAJECTORY else 0.0,
        section.text("frame_id", default=""),
    )


def _output(section: _Section, kind: str, spec: PolicySpec) -> Output:
    place = {VECTOR: "", TRAJECTORY: "joint"}.get(kind, "field")
    section.only("action", "scale", "offset", "limits", *filter(None, [place]))
    action = action_names(spec).index(section.text("action", action_names(spec)))
    scale, offset = section.number("scale", 1.0), section.number("offset", 0.0)
    if scale == 0:
        raise UserError(f"{section.where}: scale is 0, expected another number")
    ends = (spec.action_low[action], spec.action_high[action])
    least, most = low, high = sorted(scale * end + offset for end in ends)
    if "limits" in section:
        low, high = section.numbers("limits", 2)
        if low > high:
            raise UserError(
                f"{section.where}: limits is [{low}, {high}], expected the lower limit first"
            )
        if low > most or high < least:
            raise UserError(
                f"{section.where}: limits is [{low}, {high}], but scale and offset give {least} to "
                f"{most}, expected some of that within them"
            )
    allowed = TWIST_FIELDS if place == "field" else ()
    return Output(action, section.text(place, allowed) if place else "", scale, offset, low, high)
