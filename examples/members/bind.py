"""What casemate attacks: the segments as deployed, and the same trained with differential privacy."""

from functools import cache

import members

import casemate as cm
from casemate.trainers import MLP

# Trains as `members.fit` does, many networks at once: what an attacker's shadow models are trained with.
STACK = MLP(
    hidden=(members.HIDDEN,), epochs=members.EPOCHS, batch=members.BATCH, rate=members.RATE, momentum=members.MOMENTUM
)
SPENT = 3.0  # epsilon, as private.yaml declares it


def _fit(x, y, seed):
    return cm.wrap(members.fit(x, y, seed), name="customer segments")


def recipe():
    """How the agency trained."""
    x, _, y, _ = members.split()
    return cm.Recipe(_fit, x, y, version="1", stack=STACK)


def private_recipe():
    """The same network, trained so that no single customer matters much."""
    return cm.controls.DPSGD(epsilon=SPENT).harden_recipe(recipe())


@cache
def _trained(private):
    made = private_recipe() if private else recipe()
    return made.fit(made.x, made.y, 0)


def target():
    """Baskets in, the segment out, and how sure the network is of each."""
    return _trained(False)


def private_target():
    """The private network."""
    return _trained(True)


def others():
    """Customers who are no members."""
    _, x, _, y = members.split()
    return cm.Holdout(x=x, y=y)
