"""What casemate attacks: the cheque reader as deployed. These lines are all that the description needs."""

import cheques

import casemate as cm

STAGES = (
    cm.Stage(name="resize 32 to 28", kind="resize", forward=cheques.resize),
    cm.Stage(name="normalise", kind="normalise", forward=cheques.normalise),
)


def _deployed(model):
    return cm.wrap(model, stages=STAGES, decision=cm.Threshold(cheques.THRESHOLD), name="cheque reader", classes=10)


def target():
    """The reader: resize, normalise, network, threshold with reject."""
    return _deployed(cheques.deployed())


def parent():
    """The model it was fine-tuned from, as anybody can run it: no threshold."""
    return cm.wrap(cheques.parent(), stages=STAGES, name="public parent", classes=10)


def holdout():
    """A thousand digits that no training saw."""
    part = cheques.load().holdout
    return cm.Holdout(x=part.x, y=part.y)


def recipe():
    """How the bank trains: fine-tunes its parent."""
    part = cheques.load().train
    return cm.Recipe(_fit, part.x, part.y, version="1")


def _fit(x, y, seed, perturb=None):
    return _deployed(cheques.train(x, y, seed, perturb=perturb))


def artifact():
    """The weights file as deployed."""
    return cheques.weights()
