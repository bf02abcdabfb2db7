"""The policy file: what goes in comes out, and nothing else comes in."""

import dataclasses
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import random_policy
from safetensors.numpy import load_file, save_file

from proxy_snn_control.policy import (
    PolicyFileError,
    UserError,
    load_policy,
    read_policy,
    write_policy,
)


def header_of(path: Path) -> dict:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["policy"])


def rewrite(path: Path, header: dict | str | None, tensors: dict | None = None) -> None:
    text = header if isinstance(header, str) else json.dumps(header)
    metadata = None if header is None else {"policy": text}
    save_file(load_file(path) if tensors is None else tensors, path, metadata)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    spec, tensors = random_policy(
        observations=3,
        actions=2,
        action_low=(-0.4, -1.0),
        action_high=(0.4, 3.0),
        observation_names=("a", "b", "c"),
        action_names=("x", "y"),
        provenance={"env": "T", "nested": {"n": [1, 2]}},
    )
    write_policy(path, spec, tensors)
    read_spec, read_tensors = read_policy(path)
    assert read_spec == spec
    assert read_tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read_tensors[name], tensor)
    assert os.listdir(tmp_path) == ["p.safetensors"]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("observation_size", 0, "observation_size is 0"),
        ("observation_size", 9.0, "observation_size is 9.0"),
        ("observation_size", True, "observation_size is True"),
        ("observation_size", 2**40, "observation_size"),
        ("time_steps", 10**9, "time_steps"),
        ("hidden", "wide", "hidden"),
        ("hidden", [32, -1], "hidden"),
        ("hidden", [16, 24], "shape"),
        ("neuron", "quantum", "neuron is 'quantum', expected one of lif"),
        ("neuron_constants", {"voltage_decay": 0.75}, "neuron_constants"),
        ("neuron_constants", {"voltage_decay": 0.75, "threshold": "high"}, "neuron_constants"),
        ("neuron", ["lif"], "neuron is"),
        ("neuron_constants", {"voltage_decay": 1.5, "threshold": 0.5}, "neuron_constants"),
        ("encoder_threshold", 0, "encoder_threshold"),
        ("encoder_threshold", 10**400, "encoder_threshold"),
        ("encoder_threshold", 1e300, "encoder_threshold"),
        ("control_period", 1e12, "control_period"),
        ("control_period", 1e-12, "control_period"),
        ("action_high", [10**400], "action_high"),
        ("action_high", [1e300], "action_high"),
        ("action_high", [-1.0 + 1e-60], "not below"),
        ("observation_names", ["bad\nname", *"abcdefgh"], "observation_names"),
        ("observation_names", ["\ud800", *"abcdefgh"], "observation_names"),
        ("version", True, "version True"),
        ("encoder_threshold", float("nan"), "encoder_threshold"),
        ("control_period", -1, "control_period"),
        ("action_low", [2.0], "not below"),
        ("action_low", [-1.0, -1.0], "action_low"),
        ("action_high", [float("inf")], "action_high"),
        ("observation_names", ["one"], "observation_names"),
        ("observation_names", ["same"] * 9, "observation_names"),
        ("observation_quantile_levels", [0.5], "observation_quantile_levels"),
        ("observation_quantile_levels", [0.0, 1.0, 0.5], "observation_quantile_levels"),
        ("provenance", [], "provenance"),
        ("version", 2, "version 2"),
        ("format", "other", "format"),
    ],
)
def test_a_wrong_header_is_refused(policy_file: Path, field: str, value: object, says: str) -> None:
    rewrite(policy_file, {**header_of(policy_file), field: value})
    with pytest.raises(PolicyFileError, match=says) as error:
        load_policy(policy_file)
    assert str(policy_file) in str(error.value)


@pytest.mark.parametrize(
    ("header", "says"),
    [(None, "without a policy header"), ("{", "no JSON"), ("[1]", "format")],
)
def test_no_header(policy_file: Path, header: str | None, says: str) -> None:
    rewrite(policy_file, header)
    with pytest.raises(PolicyFileError, match=says):
        load_policy(policy_file)


def test_missing_and_unknown_fields(policy_file: Path) -> None:
    header = header_of(policy_file)
    without = {key: value for key, value in header.items() if key != "time_steps"}
    rewrite(policy_file, without)
    with pytest.raises(PolicyFileError, match="lacks the field time_steps"):
        load_policy(policy_file)
    rewrite(policy_file, {**header, "__reduce__": "os.system"})
    with pytest.raises(PolicyFileError, match="unknown field '__reduce__'"):
        load_policy(policy_file)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("decoder.bias"), "lacks the tensor decoder.bias"),
        (lambda t: t.update(extra=np.zeros(1, np.float32)), "unknown tensor 'extra'"),
        (lambda t: t.update({"decoder.bias": np.zeros(1, np.float64)}), "F64, expected F32"),
        (lambda t: t.update({"decoder.bias": np.zeros(2, np.float32)}), r"shape \(2,\)"),
        (lambda t: t["layers.0.weight"].fill(np.nan), "layers.0.weight holds a NaN"),
        (lambda t: t["layers.1.bias"].fill(np.inf), "layers.1.bias holds a NaN"),
        (lambda t: t["encoder.sigma"].fill(0), "encoder.sigma holds a zero"),
        (lambda t: t["layers.1.weight"].fill(1e38), "layers.1.weight holds a number beyond"),
    ],
)
def test_wrong_tensors_are_refused(policy_file: Path, change, says: str) -> None:
    tensors = {name: array.copy() for name, array in load_file(policy_file).items()}
    change(tensors)
    rewrite(policy_file, header_of(policy_file), tensors)
    with pytest.raises(PolicyFileError, match=says):
        load_policy(policy_file)


def test_files_that_are_no_policy(tmp_path: Path, policy_file: Path) -> None:
    path = tmp_path / "other"
    with pytest.raises(PolicyFileError, match="no such file"):
        load_policy(path)
    with pytest.raises(PolicyFileError, match="is not a file"):
        load_policy(tmp_path)
    whole = policy_file.read_bytes()
    for content in (b"", b"hello", whole[:7], whole[:100], whole[:-1], whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(PolicyFileError, match="safetensors"):
            load_policy(path)


def test_a_pickle_is_not_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    path = tmp_path / "policy.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(PolicyFileError):
        load_policy(path)
    assert not (tmp_path / "sprung").exists()


def test_nothing_invalid_is_written(tmp_path: Path) -> None:
    spec, tensors = random_policy()
    path = tmp_path / "p"
    with pytest.raises(PolicyFileError, match="action_low"):
        write_policy(path, dataclasses.replace(spec, action_low=(1.0,)), tensors)
    with pytest.raises(PolicyFileError, match="NaN"):
        write_policy(path, spec, {**tensors, "decoder.bias": np.full(1, np.nan, np.float32)})
    assert not path.exists()


def test_what_is_too_large_to_read_is_not_written(tmp_path: Path) -> None:
    spec, tensors = random_policy()
    with pytest.raises(PolicyFileError, match="more than a policy file may"):
        write_policy(tmp_path / "p", dataclasses.replace(spec, hidden=(8192, 8192)), tensors)
    assert not os.listdir(tmp_path)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, policy_file: Path) -> None:
    spec, tensors = random_policy()
    with pytest.raises(UserError, match="cannot be written"):
        write_policy(tmp_path / "missing" / "p", spec, tensors)
    before = policy_file.read_bytes()
    with pytest.raises(PolicyFileError):
        write_policy(policy_file, spec, {})
    assert policy_file.read_bytes() == before
    assert os.listdir(tmp_path) == [policy_file.name]
