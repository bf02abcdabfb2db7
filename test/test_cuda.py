"""The update on a GPU, recorded as a CUDA graph, against the same updates on the CPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("no GPU that torch can use", allow_module_level=True)

from proxy_snn_control.learning.config import TrainConfig  # noqa: E402
from proxy_snn_control.learning.replay import Replay  # noqa: E402
from proxy_snn_control.learning.td3 import TD3  # noqa: E402
from proxy_snn_control.spiking.actor import SpikingActor  # noqa: E402


@pytest.mark.parametrize("target", ["proxy", "soft"])
def test_recorded_updates_equal_those_of_the_cpu(target: str) -> None:
    rng = np.random.default_rng(0)
    replay = Replay(500, 5, 2)
    for _ in range(500):
        state, following = rng.normal(size=(2, 5))
        replay.add(state, rng.uniform(-1, 1, 2), rng.normal(), following, False)
    config = TrainConfig(
        target=target,
        precision="float32",
        batch_size=32,
        target_noise=0.0,  # the two have random generators of their own
        proxy_hidden=(32,),
        proxy_learning_rate=1e-3,
    )
    both = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        td3 = TD3(SpikingActor(5, (-1.0,) * 2, (1.0,) * 2), config, torch.device(device))
        draws = np.random.default_rng(1)
        losses = [float(td3.update(replay, draws)["critic_loss"]) for _ in range(20)]
        both.append((losses, td3))
    (losses, cpu), (recorded, gpu) = both
    np.testing.assert_allclose(recorded, losses, rtol=0.02)
    assert int(gpu.critic_optimiser.state_dict()["state"][0]["step"]) == 20
    for name, value in cpu.critic.state_dict().items():
        away = (gpu.critic.state_dict()[name].cpu() - value).abs()
        assert float((away > 1e-3).float().mean()) < 0.01, name
