"""Many models at once: what shadow models, leave-one-out and ensembles of defences are trained with."""

from .learners import MLP, Fits, Learner, Softmax
from .many import Outcome, train_many

__all__ = ["MLP", "Fits", "Learner", "Outcome", "Softmax", "train_many"]
