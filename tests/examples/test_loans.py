"""The loans example: the data, the column facts, the two models and the artifact."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "loans"))
loans = importlib.import_module("loans")


def test_the_data_is_the_thousand_applicants_of_the_source() -> None:
    x, y = loans.frame()
    assert x.shape == (1000, 20)
    assert int(y.sum()) == 300
    assert not x.isna().to_numpy().any()


def test_the_column_facts_hold_for_every_applicant() -> None:
    x, _ = loans.frame()
    assert list(x.columns) == list(loans.COLUMNS)
    for name, column in loans.COLUMNS.items():
        if column["type"] == "category":
            assert set(x[name]) <= set(column["levels"]), name
        else:
            assert x[name].between(column["low"], column["high"]).all(), name
        assert column["change"] in ("free", "immutable", "up", "down"), name
        assert (column["cost"] == 0) == (column["change"] == "immutable"), name


def test_protected_facts_cannot_be_changed() -> None:
    assert {"age_in_years", "personal_status_and_sex", "foreign_worker"} <= set(loans.IMMUTABLE) & set(loans.PERSONAL)
    assert loans.ONE_WAY["present_employment_since"] == "up"


def test_the_split_is_fixed_and_disjoint() -> None:
    first, again = loans.split(3), loans.split(3)
    assert all(a.equals(b) for a, b in zip(first, again, strict=True))
    assert not set(first[0].index) & set(first[1].index)


@pytest.mark.parametrize("name", ["fit", "fit_logistic"])
def test_the_models_beat_granting_everybody(name: str) -> None:
    x, hold, y, truth = loans.split(0)
    model = getattr(loans, name)(x, y, 0)
    assert model.score(hold, truth) >= 0.73  # granting everybody scores 0.70
    assert roc_auc_score(truth, model.predict_proba(hold)[:, 1]) >= 0.75
    assert set(loans.decide(model, hold)) == {"granted", "declined"}


def test_the_logistic_variant_is_exactly_one_linear_function() -> None:
    x, hold, y, _ = loans.split(0)
    model = loans.fit_logistic(x, y, 0)
    features = model.named_steps["columns"].transform(hold)
    linear = features @ model.named_steps["model"].coef_[0] + model.named_steps["model"].intercept_[0]
    assert np.abs(1 / (1 + np.exp(-linear)) - model.predict_proba(hold)[:, 1]).max() < 1e-12


def test_the_artifact_decides_like_the_model(tmp_path: Path) -> None:
    path = loans.save(tmp_path / "loans.joblib")
    x, hold, y, _ = loans.split(0)
    loaded = joblib.load(path)  # our own file, written one line above
    assert (loaded.predict_proba(hold) == loans.fit(x, y, 0).predict_proba(hold)).all()
