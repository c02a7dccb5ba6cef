"""What casemate attacks: the attachment screening as deployed. These lines are all that the description needs."""

import hashlib

import attachments
import formats

import casemate as cm

ROUTES = ("deliver", "document scanner", "hold", "media scanner", "sandbox", "unpacker")


def _file():
    return attachments.collect(60)


def target():
    """Bytes in, a route out, and how sure Magika is of the type behind it."""

    def screen(data):
        seen = attachments.screen(data)
        scores = [(1 - seen.score) / (len(ROUTES) - 1)] * len(ROUTES)
        scores[ROUTES.index(seen.route)] = seen.score
        return ROUTES.index(seen.route), scores

    return cm.wrap(screen, output="both", batched=False, classes=ROUTES, name="attachment screening",
                   version=attachments.version())  # fmt: skip


def data():
    """Real files, and the route each belongs on."""
    files = _file()
    return cm.Holdout(x=[f.data for f in files], y=[ROUTES.index(f.route) for f in files])


def edits():
    """Changes that keep the file working, checked by the format's own parser."""
    kinds = {hashlib.sha256(f.data).digest(): f.format for f in _file()}

    def kind(original):
        return kinds[hashlib.sha256(original).digest()]

    return cm.Bytes(
        valid=lambda changed, original: formats.same(kind(original), original, changed),
        edit=lambda data, original, rng: formats.change(kind(original), data, rng)[1],
        grow=formats.GROWTH,
    )


def model_file():
    """The ONNX model inside the magika package."""
    return attachments.model_file()
