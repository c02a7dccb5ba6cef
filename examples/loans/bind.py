"""What casemate attacks: the credit decision as deployed. These lines are all that the description needs."""

from functools import cache, partial
from pathlib import Path

import loans
import numpy as np

import casemate as cm

MODEL = Path(__file__).with_name(".cache") / "loans.joblib"


@cache
def _split():
    return loans.split(0)


def _wrapped(fit, x, y, seed):
    return cm.wrap(fit(x, y, seed), name="credit decision")


def target():
    """The deployed pipeline: frames in, granted (0) or declined (1) out."""
    x, _, y, _ = _split()
    return _wrapped(loans.fit, x, y, 0)


def simple():
    """The simpler variant: one linear function of the form."""
    x, _, y, _ = _split()
    return _wrapped(loans.fit_logistic, x, y, 0)


def holdout():
    """Applicants that no training saw."""
    _, x, _, y = _split()
    return cm.Holdout(x=x, y=y.to_numpy())


def recipe():
    """How the bank retrains."""
    x, _, y, _ = _split()
    return cm.Recipe(partial(_wrapped, loans.fit), x, y.to_numpy(), version="1")


def simple_recipe():
    """How the bank retrains the simpler variant."""
    x, _, y, _ = _split()
    return cm.Recipe(partial(_wrapped, loans.fit_logistic), x, y.to_numpy(), version="1")


def around(model):
    """The decision as the application server takes it: what the model does not answer goes to a clerk (-1)."""

    def decide(forms):
        try:
            label = np.asarray(model.respond(forms).label)
        except Exception:  # noqa: BLE001 - whatever the model does, nobody is granted credit by it
            return np.full(len(forms), -1)
        return label if label.shape == (len(forms),) and np.isin(label, (0, 1)).all() else np.full(len(forms), -1)

    return decide


def form():
    """What an applicant can write on the form, and what not."""
    return cm.Table({name: _column(spec) for name, spec in loans.COLUMNS.items()})


def _column(spec):
    return cm.Column(
        kind=spec["type"], low=spec.get("low", 0), high=spec.get("high", 0), values=tuple(spec.get("levels", ())),
        immutable=spec["change"] == "immutable", direction={"up": 1, "down": -1}.get(spec["change"], 0),
        cost=spec["cost"], personal=spec["personal"],
    )  # fmt: skip


def artifact():
    """The pipeline as it lies in the registry: a joblib file."""
    return loans.save(MODEL)


def simple_artifact():
    """The simpler pipeline as it lies in the registry."""
    return loans.save(MODEL.with_name("simple.joblib"), logistic=True)
