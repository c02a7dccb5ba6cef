"""The measures and the verdicts in plain words, for a reader who has not run the attack."""

from __future__ import annotations

from ..core.evidence import Evidence, Verdict

_MEASURES = {
    "rows broken": "The share of inputs, right before, that the attacker got decided wrongly.",
    "membership advantage": (
        "How much more often the attacker says 'member' of members than of others: 0 is guessing, 1 is never wrong."
    ),
    "rise of the clean test error": (
        "How much more often the model is wrong on unchanged inputs after it was trained on the poison."
    ),
    "rise of the squared error, as a share of the variance of the truth": (
        "How much worse the numbers become after training on the poison; 1 is as bad as always saying the mean."
    ),
    "backdoor success above the clean model's": (
        "How much more often an input with the trigger is decided as the attacker wants than without the poison in training."
    ),
    "inputs misread as wanted above the clean model's": (
        "How much more often chosen inputs are decided as the attacker wants than without the poison in training."
    ),
    "agreement with the target": "How often the copy decides as the original does, on inputs the attacker never saw.",
    "audited epsilon, lower bound": (
        "The privacy loss that was shown. The true one is at least this large; how much larger, nobody knows from here."
    ),
    "gain over imputation": (
        "How many more of the people the attacker is right about than somebody who guesses without asking the model."
    ),
    "backdoor success after fine-tuning above the clean parent's": (
        "How much more often an input with the trigger is decided as the attacker wants than by a model made of the clean parent."
    ),
    "nearer to a member": (
        "In how many classes what was made again lies nearer to a member than to a stranger; chance is one half."
    ),
    "records recovered": "How many of the inputs behind the gradients can be recognised in what was made of them.",
    "work ratio to the costliest honest input": "How many times the work of the costliest honest input one input can cause.",
    "daily cost, ratio to the stated line": "What a day of calls costs the owner, as a multiple of what would matter.",
    "worlds told apart": "How often the attacker tells which of two shares the training data had; one half is a coin.",
    "share of the flood admitted": "How much of a flood of requests the endpoint worked for.",
    "share of faults that fail open": "Under how many of the tried faults the system lets through what it refuses otherwise.",
    "swapped files taken": "Whether the loader took a file that was changed after the list of files was made.",
    "rise of the joint model's error": (
        "How much larger the joint model's error is after a round with the attacker's clients than after an honest one."
    ),
    "part of the way to the wanted model": "How much nearer the model the attacker wants a round ends; 1 is that model itself.",
    "checks broken": "How many of the checks of the file failed.",
}  # fmt: skip
_BROKEN = {
    "infer": "Whoever has this access tells people in the training data from others better than by guessing.",
    "audit": "The training leaks more about single records than it claims to; where it claims nothing, more than epsilon 1.",
    "attribute": "The model gives away hidden values of people that nobody could have guessed as well without it.",
    "property": "The model gives away what share of a group its training data had.",
    "invert": "Inputs made again from the model lie nearer to its training data than to other data.",
    "leak": "The gradients that a client sends give its inputs away.",
    "poison": "Records that this adversary can write make the retrained model worse by more than chance does.",
    "backdoor": "Records that this adversary can write make the retrained model obey a trigger.",
    "misread": "Records that this adversary can write make the retrained model misread chosen inputs.",
    "adopt": "A backdoor in the published parent survives the fine-tuning.",
    "sponge": "One input can make the model work far more than any honest one.",
    "harvest": "Calls of a day cost the owner more than would matter, or without an end.",
    "copy": "Whoever has this access can build a copy good enough to stand in for the model.",
    "stall": "Nothing limits a flood of requests.",
    "drill": "When the model fails, the system decides as the attacker wants.",
    "federated": "So few clients move the joint model of all further than the server should let them.",
    "fetch": "The loader takes training files that were swapped after they were listed.",
}
_UNSHOWN = {
    "infer": "Nothing was shown to tell members from others better than by guessing, with this attack and so many records.",
    "audit": "No leak beyond the claim was shown. An audit gives a lower bound: it cannot confirm a claim.",
    "attribute": "Nothing was shown that the model gives away beyond what can be guessed without it.",
    "property": "The shares were not told apart better than by a coin.",
    "invert": "Nothing was shown that is nearer to training data than to other data.",
    "leak": "The inputs were not recovered by this attack.",
    "poison": "No harm beyond chance was shown at the shares this budget pays for; nothing is said of larger ones.",
    "backdoor": "The trigger did not work at the shares this budget pays for; nothing is said of larger ones.",
    "misread": "The chosen inputs were not misread at the shares this budget pays for; nothing is said of larger ones.",
    "adopt": "The backdoor did not survive this fine-tuning; another one may differ.",
    "sponge": "No input was found that costs more than the line; others were not tried.",
    "harvest": "The controls keep the bill of a day below what would matter, for so many accounts.",
    "copy": "No copy good enough was built within this budget of queries; nothing is said of a larger one.",
    "stall": "A control refused part of the flood.",
    "drill": "None of the faults that were tried opened the system; others were not tried.",
    "federated": "So many clients, with this attack, did not move the joint model further than is allowed.",
    "fetch": "The loader refused the swapped file.",
}


def meaning(evidence: Evidence) -> str:
    """What the measure says, in one sentence; empty where nobody wrote it down."""
    return _MEASURES.get(evidence.measure, "")


def verdict_words(evidence: Evidence) -> str:
    """What the verdict means for this kind of attack; empty where nobody wrote it down. Not decided is never reported as safe."""
    if evidence.verdict is Verdict.BROKEN:
        return _BROKEN.get(evidence.case, "")
    if evidence.verdict is Verdict.RESISTED:
        return _UNSHOWN.get(evidence.case, "")
    return "Nothing was decided: this is no sign that the attack fails." if evidence.case in _BROKEN else ""
