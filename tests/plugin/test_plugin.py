"""A plugin package adds an attack, a control and a target from outside, by nothing but its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PACKAGE = Path(__file__).with_name("package")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package, built and installed into a folder of its own; by hand where its build backend is not at hand."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    done = subprocess.run([*pip, "--target", str(folder), str(PACKAGE)], capture_output=True, text=True, check=False)
    if done.returncode:
        _by_hand(folder)
    return folder


def _by_hand(folder):
    """What an installer leaves behind: the modules, and a note of the entry points."""
    import shutil

    shutil.copytree(PACKAGE / "src", folder, dirs_exist_ok=True)
    info = folder / "casemate_plugin_example-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: casemate-plugin-example\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[casemate]\nexample = casemate_plugin_example\n")


def run(installed, *command):
    """A fresh process that has the plugin on its path, and nothing imported yet."""
    path = os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, *command], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


def python(installed, text):
    done = run(installed, "-c", textwrap.dedent(text))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_line_lists_the_attack_and_the_control(installed):
    main = ("-c", "from casemate.app.main import main; main()")
    attacks, controls = (run(installed, *main, what) for what in ("attacks", "controls"))
    assert attacks.returncode == controls.returncode == 0, attacks.stderr + controls.stderr
    assert "evasion.corners" in attacks.stdout
    assert "service.best_two" in controls.stdout
    assert "tries = 32" in run(installed, *main, "attacks", "evasion.corners").stdout


def test_the_attack_runs_by_id_on_the_target_behind_the_control(installed):
    out = python(
        installed,
        """
        import numpy as np, casemate as cm
        from casemate.core.control import controls
        from casemate_plugin_example.target import Prototypes
        target = cm.wrap(Prototypes([[0.2, 0.2], [0.8, 0.8]]), name="mine")
        x = np.array([[0.45, 0.45], [0.1, 0.1], [0.6, 0.6]])
        case = cm.Evade(x, np.array([0, 0, 1]), within=cm.Ball("linf", 0.2))
        evidence = cm.run("evasion.corners", target, case, controls=[controls.get("service.best_two")()], seed=0)
        print(target.name, evidence.attack, evidence.rate, evidence.rows["broken"].tolist())
        """,
    )
    assert out.strip() == "mine evasion.corners 0.6666666666666666 [True, False, True]"


def test_all_three_keep_their_contracts(installed):
    python(
        installed,
        """
        import numpy as np, casemate as cm
        from casemate.testing import check_attack, check_control, check_target
        from casemate_plugin_example.target import Prototypes
        check_attack("evasion.corners")
        check_control("service.best_two")
        x = np.random.default_rng(0).random((6, 2))
        check_target(cm.wrap(Prototypes([[0.2, 0.2], [0.8, 0.8]])), x, changed=cm.wrap(Prototypes([[0.3, 0.2], [0.8, 0.8]])))
        """,
    )


def test_a_plugin_that_cannot_be_imported_is_said_and_not_passed_over(installed, tmp_path):
    info = tmp_path / "bad-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[casemate]\nbad = no_such_module_of_mine\n")
    done = run(tmp_path, "-c", "from casemate.app.main import main; main()", "attacks")
    assert done.returncode == 2
    assert "no_such_module_of_mine" in done.stderr
    assert "Traceback" not in done.stderr
