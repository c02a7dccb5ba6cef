"""Defences that leave rows out, and the vote: exact where there is nothing to defend, useful where there is, certain in votes."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import casemate as cm
from casemate.attacks.poisoning.gradient import Gradient
from casemate.attacks.poisoning.label_flip import LabelFlip
from casemate.controls.training.partition import Partition, part_of, radius
from casemate.controls.training.roni import Roni, harms_of
from casemate.controls.training.sever import Sever, filtered_mean
from casemate.controls.training.trim import Trim, trimmed_least_squares
from casemate.core.case import Holdout, Poison
from casemate.core.errors import BadInput, UsageError
from casemate.core.oracle import Known
from casemate.core.target import Recipe
from casemate.testing._set_rigs import fit_centroids
from casemate.trainers import Softmax


def fit(x, y, seed):
    return cm.wrap(make_pipeline(StandardScaler(), LogisticRegression(max_iter=400)).fit(x, y))


@pytest.fixture(scope="module")
def case():
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    return Poison(recipe=Recipe(fit, x[:300], y[:300]), seeds=(0,), truth=Holdout(x=x[300:], y=y[300:]), fractions=(0.1,))


def line(seed=0, n=60, bad=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.3 + 0.05 * rng.normal(size=n)
    y[:bad] += 8
    return x, y


def test_trim_of_nothing_is_least_squares_itself():
    x, y = line(bad=5)
    theirs = LinearRegression().fit(x, y)
    assert trimmed_least_squares(x, y, 0.0) == pytest.approx([*theirs.coef_, theirs.intercept_], abs=1e-12)
    penal = Ridge(alpha=3.0).fit(x, y)
    assert trimmed_least_squares(x, y, 0.0, ridge=3.0) == pytest.approx([*penal.coef_, penal.intercept_], abs=1e-10)


def test_trim_finds_the_line_under_gross_errors():
    x, y = line(bad=9)
    found, plain = trimmed_least_squares(x, y, 0.15), trimmed_least_squares(x, y, 0.0)
    assert found == pytest.approx([1.0, -2.0, 0.5, 0.3], abs=0.05)
    assert abs(plain[-1] - 0.3) > 0.5
    with pytest.raises(BadInput, match="trim less"):
        trimmed_least_squares(x[:5], y[:5], 0.5)


def test_trim_of_nothing_trains_as_before(case):
    hard = Trim(share=0.0).harden_recipe(case.recipe)
    assert hard.fit(hard.x, hard.y, 0).fingerprint() == case.recipe.fit(hard.x, hard.y, 0).fingerprint()


def test_left_out_are_the_turned_labels(case):
    y = case.recipe.y.copy()
    turned = np.random.default_rng(1).choice(300, 24, replace=False)
    y[turned] = 1 - y[turned]
    bad = np.isin(np.arange(300), turned)
    for control, least in ((Trim(share=0.1), 0.8), (Sever(share=0.1), 0.6)):
        gone = ~control.kept(fit, case.recipe.x, y, 0)
        assert gone[bad].mean() > least
        assert gone[~bad].mean() < gone[bad].mean() / 3
    sieve = Roni().sieve(case.recipe)  # its trusted rows are those before the flips
    gone = ~sieve.kept(fit, case.recipe.x, y, 0)
    assert gone[bad].mean() > 0.2  # one row at a time: most flips do no harm that an honest row could not do
    assert gone[~bad].mean() < 0.08


def test_a_class_is_never_left_out_whole(case):
    y = np.zeros(300, int)
    y[:3] = 1
    assert Trim(share=0.3).kept(fit, case.recipe.x, y, 0)[:3].any()
    assert Sever(share=0.3).kept(fit, case.recipe.x, y, 0)[:3].any()


def test_false_positives_on_clean_data_are_told(case):
    assert Trim(share=0.1).false_positives(case.recipe) == pytest.approx(0.1)
    assert Sever(share=0.1, rounds=2).false_positives(case.recipe) == pytest.approx(0.1)
    assert Roni(alarm=0.05).false_positives(case.recipe) < 0.1


def test_defences_help_against_turned_labels_and_say_which_attack_still_works(case):
    known = Known(data=(case.recipe.x, case.recipe.y))
    plain = cm.run(LabelFlip(), None, case, known=known).extra["poisoned_error"]
    for control in (Trim(share=0.12), Sever(share=0.1)):
        hard = replace(case, recipe=control.harden_recipe(case.recipe))
        assert cm.run(LabelFlip(), None, hard, known=known).extra["poisoned_error"] < plain
    # A climb gets through TRIM on these data: the control falls to an attack that knows it.
    hard = replace(case, recipe=Trim(share=0.12).harden_recipe(case.recipe))
    assert cm.run(Gradient(), None, hard, known=known).interval.low > 0


def test_harm_of_a_row_is_what_training_without_it_saves():
    rng = np.random.default_rng(0)
    a, t, v, g = rng.normal(size=(30, 4)), rng.normal(size=(30, 2)), rng.normal(size=(11, 4)), rng.normal(size=(11, 2))

    def error(rows):
        model = Ridge(alpha=2.0).fit(a[rows], t[rows])
        return ((model.predict(v) - g) ** 2).sum(1).mean()

    everything = np.arange(30)
    expected = [error(everything) - error(np.delete(everything, i)) for i in range(30)]
    assert harms_of(a, t, v, g, 2.0) == pytest.approx(expected, abs=1e-9)


def test_a_trusted_row_is_held_against_the_others_alone():
    rng = np.random.default_rng(1)
    a, t = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    places = np.arange(20, 30)
    found = harms_of(a, t, a[places], t[places], 2.0, among=places)
    for own, place in enumerate(places):
        others = np.delete(places, own)
        assert found[place] == pytest.approx(harms_of(a, t, a[others], t[others], 2.0)[place], abs=1e-9)
    assert found[:20] == pytest.approx(harms_of(a, t, a[places], t[places], 2.0)[:20])


def test_of_labels_that_mean_nothing_about_the_stated_share_is_left_out():
    shares = []
    for seed in range(20):
        x = np.random.default_rng(seed).random((480, 5))
        shares.append(Roni(alarm=0.05).false_positives(Recipe(fit, x, np.arange(480) % 2)))
    assert 0.015 < np.mean(shares) < 0.08


@pytest.mark.parametrize("share", [0.02, 0.08])
def test_the_filtered_mean_stays_near_whatever_the_clump_does(share):
    rng = np.random.default_rng(0)
    n, d = 2000, 20
    points = rng.normal(size=(n, d))
    for far in (5.0, 1e6):
        own = points.copy()
        own[: int(share * n), 0] = far
        assert np.linalg.norm(own.mean(0)) > share * far * 0.9
        assert np.linalg.norm(filtered_mean(own, share)) < 1.5 * np.sqrt(share)


def test_refused_with_a_reason(case):
    with pytest.raises(UsageError, match="give a Recipe"):
        Trim().harden_recipe(object())
    with pytest.raises(UsageError, match="share"):
        Trim(share=1.0)
    with pytest.raises(UsageError, match="rows must stay"):
        Sever(share=0.9)
    with pytest.raises(UsageError, match="whole number from 2"):
        Partition(parts=1)
    labels = replace(case.recipe, fit=lambda x, y, seed: cm.wrap(lambda rows: np.zeros(len(rows), int), classes=2))
    with pytest.raises(BadInput, match="labels alone"):
        Trim().kept(labels.fit, case.recipe.x, case.recipe.y, 0)
    x, y = line()
    with pytest.raises(UsageError, match="numbers"):
        Partition().harden_recipe(Recipe(fit, x, y))


# the vote -----------------------------------------------------------------------------------------------------------


def test_the_radius_is_the_one_of_brute_force_over_votes():
    for counts in product(range(6), repeat=3):
        if sum(counts) != 5:
            continue
        safe = int(radius(np.array([counts]))[0])
        assert holds(np.array(counts), safe)
        assert not holds(np.array(counts), safe + 1)


def holds(counts, changes):
    """Whether no `changes` votes that move elsewhere change the winner."""
    reach = {tuple(counts)}
    for _ in range(changes):
        reach |= {
            tuple(np.array(c) - np.eye(3, dtype=int)[i] + np.eye(3, dtype=int)[j])
            for c in reach for i in range(3) for j in range(3) if c[i] > 0
        }  # fmt: skip
    return all(np.argmax(c) == np.argmax(counts) for c in reach)


def test_no_record_added_taken_away_or_relabelled_changes_a_certified_decision():
    rng = np.random.default_rng(0)
    grid = rng.integers(0, 4, size=(14, 2)).astype(float)
    y = (grid.sum(1) > 3).astype(int)
    control, probes = Partition(parts=5), rng.uniform(0, 3, size=(12, 2))
    before = control.electorate(Recipe(fit_centroids, grid, y))
    decided, safe = before(probes).argmax(1), before.certify(probes) >= 1
    assert safe.any()
    assert not safe.all()
    changed = np.zeros(12, bool)
    for x2, y2 in variants(grid, y):
        now = control.electorate(Recipe(fit_centroids, x2, y2))(probes).argmax(1)
        assert (now == decided)[safe].all()
        changed |= now != decided
    assert changed.any()  # and the certificate is not empty: some uncertified decision does change


def variants(x, y):
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        yield x[rest], y[rest]
        yield x, np.where(rest, y, 1 - y)
    for a, b, label in product(range(4), range(4), (0, 1)):
        yield np.concatenate([x, [[a, b]]]), np.append(y, label)


def test_a_part_is_told_by_the_record_and_by_nothing_else():
    x = np.random.default_rng(0).normal(size=(40, 3))
    part, _ = part_of(x, 7)
    again, _ = part_of(x[::-1].astype(np.float64), 7)
    assert (part == again[::-1]).all()
    assert len(np.unique(part)) == 7


def test_order_of_the_data_does_not_matter():
    x = np.random.default_rng(0).normal(size=(60, 3))
    y = (x[:, 0] > 0).astype(int)
    votes = Partition(parts=7).electorate(Recipe(fit_centroids, x, y)).counts(x)
    shuffled = np.random.default_rng(1).permutation(60)
    assert (votes == Partition(parts=7).electorate(Recipe(fit_centroids, x[shuffled], y[shuffled])).counts(x)).all()


def test_a_stack_votes_as_its_models_do_one_by_one(case):
    scale = StandardScaler().fit(case.recipe.x)
    x, y = scale.transform(case.recipe.x), case.recipe.y

    def plain(x, y, seed):
        return cm.wrap(LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(x, y))

    ask = scale.transform(case.truth.x)
    stack = Partition(parts=9).electorate(Recipe(plain, x, y, stack=Softmax(l2=1.0)))
    alone = Partition(parts=9).electorate(Recipe(plain, x, y))
    assert (stack.counts(ask) == alone.counts(ask)).mean() > 0.999


def test_names_of_classes_are_voted_for_too(case):
    named = replace(case.recipe, y=np.array(["bad", "good"])[case.recipe.y])
    votes = [Partition(parts=5).electorate(recipe).counts(case.truth.x) for recipe in (case.recipe, named)]
    assert (votes[0] == votes[1]).all()
