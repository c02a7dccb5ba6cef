"""What casemate attacks: the moderation of comments as deployed. These lines are all that the description needs."""

import comments
import numpy as np

import casemate as cm


def target():
    """Comments in, published (0) or blocked (1) out, and how sure the model is."""

    def moderate(texts):
        blocked = comments.score(texts)
        return (blocked >= comments.THRESHOLD).astype(int), np.stack([1 - blocked, blocked], 1)

    return cm.wrap(moderate, output="both", classes=comments.NAMES, name="comment moderation", version=comments.version())


def data():
    """Comments written for this example, and what should become of them."""
    texts, y = comments.sample()
    return cm.Holdout(x=texts, y=y)


def model_file():
    """The classifier inside the alt-profanity-check package."""
    return comments.model_file()
