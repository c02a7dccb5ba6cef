"""The grid, and that an attack sees through it."""

from __future__ import annotations

import numpy as np
import pytest

from casemate.controls.inference.transport_quantise import Grid, TransportQuantise
from casemate.core.errors import UsageError


def test_values_land_on_the_grid():
    x = np.linspace(-0.5, 1.5, 101)
    out = Grid(5, 0.0, 1.0)(x)
    assert set(out) == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert np.abs(out - x.clip(0, 1)).max() <= 0.125 + 1e-12
    assert (Grid(5, 0.0, 1.0)(out) == out).all(), "a second time changes nothing"


def test_the_stage_goes_behind_the_sensor_and_lets_gradients_through():
    torch = pytest.importorskip("torch")
    from casemate.targets.pipeline import Pipeline, Stage
    from casemate.targets.torch_module import TorchModule

    net = torch.nn.Linear(4, 3)
    sensor = Stage(name="camera", kind="sensor", forward=lambda x: x)
    after = Stage(name="half", forward=lambda x: x * 0.5)
    target = Pipeline(model=TorchModule(module=net), stages=(sensor, after))
    hard = TransportQuantise(levels=3).harden_target(target)
    assert [stage.name for stage in hard.stages] == ["camera", "transport_quantise", "half"]
    assert [stage.name for stage in target.stages] == ["camera", "half"]
    x, y = torch.full((2, 4), 0.3), torch.tensor([0, 1])
    assert torch.equal(hard.respond(x).label, target.respond(torch.full((2, 4), 0.5)).label)
    loss = torch.nn.CrossEntropyLoss(reduction="none")
    slope = hard.gradient(x, y, loss)
    assert slope.slope.abs().sum() > 0, "rounding taken literally would give no gradient at all"
    assert hard.fingerprint() != target.fingerprint()


def test_what_has_no_stages_is_refused():
    with pytest.raises(UsageError, match="no stages"):
        TransportQuantise().harden_target(object())


@pytest.mark.parametrize("wrong", [{"levels": 1}, {"levels": 2.5}, {"low": 1.0, "high": 1.0}])
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TransportQuantise(**wrong)
