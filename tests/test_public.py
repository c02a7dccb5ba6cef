"""What `import casemate` gives, and what it does not load."""

import subprocess
import sys

import pytest

import casemate

HEAVY = ("torch", "numpy", "scipy", "sklearn", "pandas", "onnxruntime", "starlette", "sqlalchemy", "rich", "yaml", "jinja2")


def test_every_public_name_is_there_and_no_other():
    assert len(set(casemate.__all__)) == len(casemate.__all__)
    for name in casemate.__all__:
        assert getattr(casemate, name) is not None
    assert set(dir(casemate)) == {*casemate.__all__, "__version__"}
    for name in ("Nothing", "torch"):
        with pytest.raises(AttributeError, match=name):
            getattr(casemate, name)


@pytest.mark.parametrize("code", [
    "import casemate; assert casemate.__version__", "import sys; sys.argv = ['casemate', '--help']; from casemate.app.main import main\ntry: main()\nexcept SystemExit: pass",
], ids=["import", "help"])  # fmt: skip
def test_it_loads_nothing_heavy(code):
    check = f"\nimport sys\nfound = [m for m in {HEAVY!r} if m in sys.modules]\nassert not found, found"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
