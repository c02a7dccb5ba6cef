"""Moderation of reader comments around alt-profanity-check, a scikit-learn model that is installed from PyPI as it is.

A class of 1 means "blocked"; 0 means "published". The comments below were written for this example: short, mild, and about
nobody. Half of them are rude. The model is the package's own: a bag of words (TF-IDF) and a calibrated linear classifier.
"""

from __future__ import annotations

from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
import profanity_check

PUBLISHED, BLOCKED = 0, 1
NAMES = ("published", "blocked")
THRESHOLD = 0.5  # of the score from which a comment is blocked: the package's own

RUDE = (
    "You are an idiot", "What a stupid idea", "This article is crap", "Shut up, you moron", "You dumb fool, read it again",
    "You suck at this", "Screw you and your opinion", "The author is a complete jerk", "You pathetic loser",
    "Go to hell with your advice", "Damn, this is stupid", "Only a fool would believe this crap", "Bloody hell, what an idiot",
    "Nobody asked you, moron", "Your writing sucks", "What kind of idiot wrote this", "I hate you and your stupid column",
    "Such a dumb thing to say", "You are all morons", "Stop posting this crap", "This recipe is crap and so are you",
    "The referee is a damn idiot", "Kiss my ass", "You sound like a total jerk", "Get lost, loser",
    "My neighbour is a stupid jerk", "That was the dumbest game I ever saw, you losers", "Holy crap, you are dumb",
    "Piss off", "What the hell is wrong with you", "You ugly fool", "Are you really that stupid?",
    "The whole council is a bunch of idiots", "Your team sucks and you know it", "Hell no, you moron",
    "Another crap take from a crap paper", "Shut your stupid mouth", "I have never met such an idiot",
    "This damn site never works, idiots", "You are too dumb to argue with",
)  # fmt: skip
CLEAN = (
    "Thank you for this article", "I made the soup last night and it was lovely", "The bus was late again this morning",
    "Could you add a map of the route?", "I disagree, the numbers say otherwise", "Great photographs, well done",
    "Where can I buy tickets for the concert?", "My grandmother used the same recipe", "The second half was much better",
    "Please correct the date in the first line", "We planted tomatoes in the garden this spring",
    "The library opens at nine on weekdays", "I would like to read more about this", "An interesting point of view",
    "The new bridge saves me ten minutes a day", "Has anybody tried it with rice?", "The weather was kind to us",
    "Our school won the chess tournament", "I remember that winter very well", "The train to the coast runs every hour",
    "Nice to see the old theatre open again", "A clear and careful explanation", "The museum is free on Sundays",
    "I walked there with my dog yesterday", "This was the best match of the season", "How long does the dough have to rest?",
    "The council should publish the report", "Many thanks to the volunteers", "I have lived here for thirty years",
    "The link in the third paragraph does not work", "We saw two herons by the river", "Good luck to the new team",
    "The price of bread went up again", "My daughter loves the swings in that park", "A bit more salt and it is perfect",
    "I look forward to the next part", "The orchestra played very well", "Is the path open in winter?",
    "The market moves to the square in May", "What a beautiful sunset in the last picture",
)  # fmt: skip

# What a rude word can be said as instead: written by hand, because what means the same is for people to say.
ALTERNATIVES = {
    "idiot": ("nitwit", "dimwit", "twit"), "idiots": ("nitwits", "dimwits", "twits"), "stupid": ("daft", "silly", "dim"),
    "crap": ("tripe", "trash", "drivel"), "moron": ("numpty", "nitwit"), "morons": ("numpties", "nitwits"),
    "dumb": ("dim", "daft", "thick"), "dumbest": ("daftest", "thickest"), "fool": ("goof", "clown"), "jerk": ("boor", "oaf"),
    "loser": ("nobody", "flop"), "losers": ("flops",), "damn": ("darn", "dang"), "hell": ("heck",), "sucks": ("stinks",),
    "suck": ("stink",), "ass": ("boot",), "shut": ("zip",), "hate": ("loathe",), "screw": ("forget",), "piss": ("buzz",),
    "ugly": ("plain",), "pathetic": ("sorry", "feeble"), "bloody": ("blooming",),
}  # fmt: skip


def score(texts: list[str]) -> np.ndarray:
    """How sure the model is that each comment is to be blocked, ``(n,)``."""
    return np.asarray(profanity_check.predict_prob([str(text) for text in texts]), float)


def decide(text: str) -> str:
    """What becomes of a comment."""
    return NAMES[int(score([text])[0] >= THRESHOLD)]


def sample() -> tuple[list[str], list[int]]:
    """All comments, rude and clean in turns, and what should become of each."""
    texts = [text for pair in zip(RUDE, CLEAN, strict=True) for text in pair]
    return texts, [BLOCKED, PUBLISHED] * len(RUDE)


def alternatives(word: str) -> tuple[str, ...]:
    """What can be said instead of a word, written as the word is."""
    others = ALTERNATIVES.get(word.lower(), ())
    return tuple(other.capitalize() for other in others) if word[:1].isupper() else others


def model_file() -> Path:
    """The classifier as the package ships it: a pickle, written by joblib."""
    return Path(profanity_check.__file__).parent / "data" / "model.joblib"


def version() -> str:
    """What decides besides this file: the release of the package."""
    return installed("alt-profanity-check")
