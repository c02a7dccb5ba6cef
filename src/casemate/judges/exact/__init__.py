"""Closed forms: what must come out, worked out and not measured, so that attacks, audits and trainers can be held against it.

mixture    two Gaussians and finite sets: robust error of linear classifiers, the best of them, floors no classifier beats
privacy    trade-off curves, advantage, membership of a Gaussian mean, randomised response, exposure
training   what leaving a row out, poisoning a mean, sharing a gradient or replacing a federated model does, exactly

`Phi` below is the standard normal distribution function. Nothing here draws random numbers.
"""
