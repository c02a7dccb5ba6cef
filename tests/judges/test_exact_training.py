"""Closed forms of what training data do, by the numbers of the study (E1): each against a second route."""

import numpy as np
import pytest

from casemate.core.errors import BadInput
from casemate.judges.exact import training


def test_e1_4_two_targets_nobody_can_tell_apart():
    assert training.noise_limit(0.2) == pytest.approx(1 / 6)
    assert training.noise_floor(1 / 6) == pytest.approx(0.2)
    first, second = training.two_targets(0.2)
    assert first == pytest.approx(second, abs=1e-15)
    assert first.sum() == pytest.approx(1)
    # Every rule, even one that knows the law, is off by 0.2 on one of the targets: it must say something of the point.
    assert max(0.2 * (said != 0) for said in (0, 1)) == 0.2


def test_e1_4_drawn_records_show_the_same_law_for_both():
    rng, error, n = np.random.default_rng(0), 0.2, 300_000
    beta, laws = training.noise_limit(error), []
    for label in (1, 0):
        bad = rng.random(n) < beta
        point = np.where(bad, 0, (rng.random(n) > error).astype(int))
        said = np.where(point == 1, 0, np.where(bad, 1 - label, label))
        laws.append([((point == p) & (said == s)).mean() for p in (0, 1) for s in (0, 1)])
    assert laws[0] == pytest.approx(laws[1], abs=0.005)
    assert laws[0] == pytest.approx(training.two_targets(error)[0].ravel(), abs=0.005)


@pytest.mark.parametrize("ridge", [0.0, 2.5])
def test_e1_9_leaving_a_row_out_is_refitting_without_it(ridge):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4))
    y = x @ [1.0, -2, 0.5, 0] + rng.normal(size=40)
    found = training.leave_one_out(x, y, ridge)
    for i in range(40):
        keep = np.arange(40) != i
        again = np.linalg.solve(x[keep].T @ x[keep] + ridge * np.eye(4), x[keep].T @ y[keep])
        assert found.without[i] == pytest.approx(again, abs=1e-12)
        assert found.residual[i] == pytest.approx(y[i] - x[i] @ again, abs=1e-11)
        if ridge == 0:
            spread = ((y - x @ found.weights) ** 2).sum() / 36
            cook = ((x @ (found.weights - again)) ** 2).sum() / (4 * spread)
            assert found.cook[i] == pytest.approx(cook, rel=1e-9)


def test_e1_9_a_row_that_decides_alone_is_refused():
    x = np.array([[1.0, 0], [1, 0], [0, 1]])
    with pytest.raises(BadInput, match="row 2 decides"):
        training.leave_one_out(x, np.arange(3.0))
    with pytest.raises(BadInput, match="dependent"):
        training.leave_one_out(np.ones((5, 2)), np.arange(5.0))


def test_e1_10_a_dense_layer_gives_its_input_and_label_away():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(12, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5)).double()
    for label in range(5):
        x = torch.randn(1, 12, dtype=torch.float64)
        net.zero_grad()
        torch.nn.functional.cross_entropy(net(x), torch.tensor([label])).backward()
        gradients = [p.grad.numpy() for p in net.parameters()]
        assert training.leaked_input(gradients[0], gradients[1]) == pytest.approx(x.numpy()[0], abs=1e-10)
        assert training.leaked_label(gradients[3]) == label
    with pytest.raises(BadInput, match="nothing leaks"):
        training.leaked_input(np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(BadInput, match="2 entries"):
        training.leaked_label([-1, -1, 2])


def test_e1_12_a_mean_moves_with_the_reach_of_its_poison():
    rng = np.random.default_rng(0)
    honest = rng.normal(1.0, 1, (90, 3))
    mean, reach = honest.mean(0), 50.0
    worst = -mean / np.linalg.norm(mean) * reach  # opposite to the honest mean, as far as allowed
    poisoned = np.r_[honest, np.tile(worst, (10, 1))]
    moved = np.linalg.norm(poisoned.mean(0) - mean)
    assert moved == pytest.approx(training.mean_shift(0.1, reach, float(np.linalg.norm(mean))))
    for _ in range(50):
        other = rng.normal(size=3)
        rows = np.tile(other / np.linalg.norm(other) * reach, (10, 1))
        assert np.linalg.norm(np.r_[honest, rows].mean(0) - mean) <= moved + 1e-9


def test_e1_12_a_trimmed_mean_does_not_care_how_far_the_poison_is():
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(90, 2))
    near, far = (training.trimmed_mean(np.r_[honest, np.full((10, 2), v)], 0.1) for v in (1e3, 1e9))
    assert near == pytest.approx(far, abs=0)
    assert (near <= honest.max(0)).all()
    assert near == pytest.approx(honest.mean(0), abs=0.3)
    beyond = training.trimmed_mean(np.r_[honest, np.full((10, 2), 1e9)], 0.05)  # more poison than is trimmed
    assert (beyond > 1e6).all()
    with pytest.raises(BadInput, match="leaves none"):
        training.trimmed_mean(honest, 0.5)


def test_e1_13_one_client_replaces_the_federated_model():
    rng = np.random.default_rng(0)
    now, wanted, others = rng.normal(size=6), rng.normal(size=6), rng.normal(size=(9, 6))
    sent = training.replacing_update(wanted, now, others)
    assert np.r_[sent[None], others].mean(0) == pytest.approx(wanted, abs=1e-12)
    shares = np.r_[0.05, np.full(9, 0.95 / 9)]
    sent = training.replacing_update(wanted, now, others, shares)
    assert shares @ np.r_[sent[None], others] == pytest.approx(wanted, abs=1e-12)
    blind = training.replacing_update(wanted, now, np.zeros((0, 6)), np.array([0.1]))  # guesses the others stay put
    assert 0.1 * blind + 0.9 * now == pytest.approx(wanted, abs=1e-12)
    with pytest.raises(BadInput, match="one share"):
        training.replacing_update(wanted, now, others, np.array([1.0]))
