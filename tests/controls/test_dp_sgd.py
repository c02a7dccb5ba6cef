"""DP-SGD: what it offers, what it asks for, and that the sampler used is the one accounted."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import casemate as cm
from casemate.controls import facts_of
from casemate.controls.training._private import Private
from casemate.controls.training._sampling import Batches, look_at, replaceable, why_not_poisson
from casemate.controls.training.dp_sgd import DPSGD
from casemate.core.errors import BadInput, MissingExtra, UsageError
from casemate.judges.accountant import gaussian_sampled
from casemate.testing.worlds import NetFit, purchases
from casemate.trainers import MLP, Softmax

torch = pytest.importorskip("torch")
STACK = MLP(hidden=(16,), epochs=20)
N = 400


@pytest.fixture(scope="module")
def data():
    x, y = purchases(N + 500, classes=3, bits=30, flip=0.2, seed=3)
    return x.astype(np.float32), y


@pytest.fixture
def recipe(data):
    x, y = data[0][:N], data[1][:N]
    return cm.Recipe(NetFit(STACK, 3), x, y, "1", stack=STACK)


def hooked(x, y, seed, private=None, *, sampler=None, own=False, extra=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    rows = torch.utils.data.TensorDataset(torch.as_tensor(x), torch.as_tensor(y))
    loader = torch.utils.data.DataLoader(rows, batch_size=40, shuffle=sampler is None, sampler=sampler)
    trained, optimiser, loss, batches = net, torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9), torch.nn.CrossEntropyLoss(), loader
    epochs = 5
    if private is not None:
        trained, optimiser, loss, batches = private(net, optimiser, loss, loader)
        epochs = private.epochs + extra
    for _ in range(epochs):
        for some, labels in loader if own else batches:
            optimiser.zero_grad()
            loss(trained(some), labels).backward()
            optimiser.step()
    return cm.wrap(net.eval(), name="hooked")


def accuracy(target, data):
    x, y = data[0][N:], data[1][N:]
    return float((np.asarray(target.respond(x).label) == y).mean())


def test_the_stack_is_trained_with_noise_that_keeps_to_epsilon(recipe, data):
    control = DPSGD(epsilon=4.0, epochs=40)
    hard = control.harden_recipe(recipe)
    assert hard.stack == control.learner(STACK, N)
    assert gaussian_sampled(1.0, hard.stack.noise, 40, 1e-5).epsilon <= 4.0
    assert gaussian_sampled(1.0, 0.99 * hard.stack.noise, 40, 1e-5).epsilon > 4.0
    assert accuracy(hard.fit(hard.x, hard.y, 0), data) > 0.9
    assert recipe.stack is STACK and hard.version != recipe.version


def test_the_noise_follows_from_the_rows_it_is_given(recipe):
    control = DPSGD(batch=40, epochs=10)
    assert control.learner(STACK, 200).noise > control.learner(STACK, 400).noise
    assert control.steps_of(401) == 11 * 10


def test_a_smaller_epsilon_costs_more_accuracy(recipe, data):
    fits = [DPSGD(epsilon=e, epochs=40).harden_recipe(recipe).fit for e in (8.0, 0.2)]
    good, bad = (np.mean([accuracy(fit(recipe.x, recipe.y, seed), data) for seed in range(3)]) for fit in fits)
    assert good > bad + 0.2


def test_the_target_can_be_differentiated(recipe):
    hard = DPSGD(epochs=10).harden_recipe(recipe)
    assert cm.Need.GRADIENT in hard.fit(hard.x, hard.y, 0).offers


def test_the_fact_is_what_it_was_asked_to_keep_to():
    assert facts_of(DPSGD(epsilon=2.0, delta=1e-6)) == (("training.dp.eps", 2.0), ("training.dp.delta", 1e-6))


def test_it_travels_to_a_worker(recipe):
    hard = DPSGD(epochs=5).harden_recipe(recipe)
    again = pickle.loads(pickle.dumps(hard.fit))
    assert again.control == DPSGD(epochs=5)
    assert again(hard.x, hard.y, 3).fingerprint() == hard.fit(hard.x, hard.y, 3).fingerprint()


@pytest.mark.parametrize(("x", "why"), [([["a", "b"]] * N, "arrays of numbers"), (np.full((N, 3), np.nan), "not finite")])
def test_what_a_stack_cannot_train_on_is_said(recipe, x, why):
    hard = DPSGD(epochs=2).harden_recipe(recipe)
    with pytest.raises(BadInput, match=why):
        hard.fit(x, recipe.y, 0)


def bare(x, y, seed):
    return None


@pytest.mark.parametrize(("change", "why"), [
    ({"stack": None, "fit": bare}, "no stack of kind MLP, and its fit takes no keyword private"),
    ({"stack": Softmax(), "fit": bare}, "no stack of kind MLP"),
    ({"y": np.linspace(0, 1, N)}, "no classes"), ({"y": np.zeros(N, int)}, "all of one class"),
])  # fmt: skip
def test_what_a_recipe_lacks_is_said(recipe, change, why):
    from dataclasses import replace

    unfit = replace(recipe, **change)
    assert why in DPSGD().fits(unfit)
    with pytest.raises(UsageError, match=r"cannot harden with training\.dp_sgd"):
        DPSGD().harden_recipe(unfit)


def test_a_delta_that_gives_a_record_away_is_refused(recipe):
    assert "allows a record of 400 to be given away whole" in DPSGD(delta=0.01).fits(recipe)


@pytest.mark.parametrize("wrong", [{"epsilon": 0}, {"delta": 1.0}, {"clip": -1.0}, {"epochs": 0}, {"batch": 0}, {"mode": "fast"}, {"rate": 0.0}])
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        DPSGD(**wrong)


# the sampler -----------------------------------------------------------------------------------------------------------


def loader(data, sampler=None, **options):
    rows = torch.utils.data.TensorDataset(torch.as_tensor(data[0][:N]), torch.as_tensor(data[1][:N]))
    return torch.utils.data.DataLoader(rows, batch_size=40, sampler=sampler, **options)


def weighted():
    weights = np.ones(N)
    weights[:20] = 30.0
    return torch.utils.data.WeightedRandomSampler(torch.as_tensor(weights), N, generator=torch.Generator().manual_seed(0))


def test_own_batches_pass_their_own_check():
    for seed in range(20):
        own = Batches(N, 40, 200, np.random.default_rng(seed))
        for _ in range(20):
            list(own)
        assert len(own.sizes) == 200 and why_not_poisson(own.counts, own.sizes, 0.1) == ""
    with pytest.raises(UsageError, match="only 200 steps were accounted"):
        list(own)


def test_wrong_sampler_opacus_813_regression(data):
    """A weighted sampler was accounted as if every row had one chance: epsilon far below what was spent, and not a word."""
    found = look_at(loader(data, weighted()).batch_sampler, N, 40 / N)
    assert "one size" in found  # whatever the weights: batches of one size are not Poisson
    poisson_by_weight = [np.flatnonzero(np.random.default_rng(i).random(N) < np.where(np.arange(N) < 20, 0.9, 0.058)) for i in range(300)]
    assert "unevenly" in look_at(poisson_by_weight, N, 0.1)
    why = replaceable(loader(data, weighted()))
    assert "WeightedRandomSampler" in why and "one chance for every row" in why


def test_shuffled_passes_are_told_from_poisson_regression(data):
    assert "as of shuffled passes" in look_at(loader(data, shuffle=True).batch_sampler, N, 0.1)


def test_another_rate_than_accounted_is_seen():
    own = Batches(N, 60, 10_000, np.random.default_rng(0))
    assert "were accounted" in look_at(own, N, 0.1)


def test_where_every_row_is_accounted_every_row_must_be_there():
    assert why_not_poisson(np.full(N, 5), [N] * 5, 1.0) == ""
    assert "where every one of 400" in why_not_poisson(np.full(N, 5), [N] * 4 + [N - 1], 1.0)


def test_plain_loaders_may_be_replaced(data):
    assert replaceable(loader(data, shuffle=True)) == replaceable(loader(data)) == ""
    assert "DataLoader" in replaceable([1, 2])


def drawn_by_the_stack(learner):
    from casemate.trainers._batches import batches

    plan = batches(learner, [np.arange(N)], [np.random.default_rng(7)], N)
    counts, sizes = np.zeros(N, int), []
    for step in range(int(plan.steps[0])):
        rows = plan.at(step, np.array([0]))[0][0]
        counts[rows[rows < N]] += 1
        sizes.append(int((rows < N).sum()))
    return why_not_poisson(counts, sizes, learner.batch / N)


def test_the_stack_really_samples_as_accounted():
    assert drawn_by_the_stack(DPSGD(batch=40, epochs=20).learner(STACK, N)) == ""
    assert drawn_by_the_stack(DPSGD(epochs=20).learner(STACK, N)) == ""
    assert "shuffled passes" in drawn_by_the_stack(MLP(batch=40, epochs=20))


# the hook --------------------------------------------------------------------------------------------------------------


def test_without_opacus_the_install_line_is_given(monkeypatch, data):
    import sys

    monkeypatch.setitem(sys.modules, "opacus", None)
    hard = DPSGD(epochs=2).harden_recipe(cm.Recipe(hooked, data[0][:N], data[1][:N]))
    with pytest.raises(MissingExtra, match=r"pip install 'casemate\[dp\]'"):
        hard.fit(hard.x, hard.y, 0)


@pytest.fixture
def opacus():
    return pytest.importorskip("opacus")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["ghost", "hooks"])
@pytest.mark.parametrize("batch", [None, 100])
def test_the_hook_trains_privately_and_by_the_seed(opacus, data, mode, batch):
    control = DPSGD(mode=mode, batch=batch, epochs=20)
    hard = control.harden_recipe(cm.Recipe(hooked, data[0][:N], data[1][:N]))
    one, two, other = (hard.fit(hard.x, hard.y, seed) for seed in (1, 1, 2))
    assert one.fingerprint() == two.fingerprint() != other.fingerprint()
    assert accuracy(one, data) > 0.85


@pytest.mark.filterwarnings("ignore")
def test_ghost_and_hooks_clip_alike(opacus, data):
    """Opacus #692: the two modes were seen to learn differently."""
    hard = [DPSGD(mode=mode, epochs=20).harden_recipe(cm.Recipe(hooked, data[0][:N], data[1][:N])) for mode in ("ghost", "hooks")]
    logits = [np.asarray(h.fit(h.x, h.y, 0).respond(data[0][N:]).logits) for h in hard]
    assert np.abs(logits[0] - logits[1]).max() < 1e-3


@pytest.mark.filterwarnings("ignore")
def test_opacus_itself_accounts_a_weighted_sampler_without_a_word_and_we_do_not_regression(opacus, data):
    """Opacus #813: the sample rate is read off the number of batches, whatever draws them."""
    net = torch.nn.Linear(30, 3)
    engine = opacus.PrivacyEngine(accountant="rdp")
    trained, optimiser, given = engine.make_private(
        module=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1), data_loader=loader(data, weighted()),
        noise_multiplier=1.0, max_grad_norm=1.0, poisson_sampling=False,
    )
    for rows, labels in given:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(trained(rows), labels).backward()
        optimiser.step()
    assert engine.accountant.history == [(1.0, 0.1, 10)]  # as if each row came with a chance of 0.1; some came twenty times as often
    assert look_at(given.batch_sampler, N, 0.1)
    hook = Private(DPSGD(epochs=1), N, 0)
    with pytest.raises(UsageError, match="WeightedRandomSampler"):
        hook(net, optimiser, torch.nn.CrossEntropyLoss(), loader(data, weighted()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("options", "why"), [
    ({"sampler": True}, "the loader draws by WeightedRandomSampler"), ({"own": True}, "use the loader that private"),
    ({"extra": 1}, "steps were accounted"),
])  # fmt: skip
def test_a_training_that_is_not_as_accounted_is_refused(opacus, data, options, why):
    options = options | ({"sampler": weighted()} if "sampler" in options else {})

    def fit(x, y, seed, private=None):
        return hooked(x, y, seed, private, **options)

    hard = DPSGD(epochs=3).harden_recipe(cm.Recipe(fit, data[0][:N], data[1][:N]))
    with pytest.raises(UsageError, match=why):
        hard.fit(hard.x, hard.y, 0)


def test_a_hook_that_is_not_used_is_no_privacy(data):
    def fit(x, y, seed, private=None):
        return hooked(x, y, seed)

    hard = DPSGD(epochs=3).harden_recipe(cm.Recipe(fit, data[0][:N], data[1][:N]))
    with pytest.raises(UsageError, match="took no private step"):
        hard.fit(hard.x, hard.y, 0)


def test_rows_that_see_each_other_are_refused(opacus, data):
    net = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3))
    hook = Private(DPSGD(epochs=3), N, 0)
    with pytest.raises(UsageError, match="BatchNorm"):
        hook(net, torch.optim.SGD(net.parameters(), lr=0.1), torch.nn.CrossEntropyLoss(), loader(data))


@pytest.mark.filterwarnings("ignore")
def test_what_was_spent_is_that_of_the_steps_taken(opacus, data):
    seen = []

    def fit(x, y, seed, private=None):
        seen.append(private)
        return hooked(x, y, seed, private, extra=-2)

    hard = DPSGD(epochs=6).harden_recipe(cm.Recipe(fit, data[0][:N], data[1][:N]))
    hard.fit(hard.x, hard.y, 0)
    assert 0 < seen[0].spent < 8.0
