"""The command line. Commands load when they are called, so `casemate --help` is quick."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

_COMMANDS = {
    "init": ("init", "Describe your system: answer what the rules ask, import what files say, stop and go on."),
    "threats": ("threats", "Say who could attack a described system, and how. Runs none of your code."),
    "assess": ("assess", "Run each threat as an attack and measure what a break costs."),
    "harden": ("harden", "Try mitigations, attack again knowing them, show before and after."),
    "account": ("account", "Say which training rows made one decision."),
    "guard": ("guard", "Host the service controls in production, around a model server."),
    "scan": ("scan", "Look into a model file or folder without loading it."),
    "report": ("report", "Write the report of a stored assessment again."),
    "schema": ("schema", "Print the JSON Schema of a file that you write, for your editor."),
    "attacks": ("listing", "List the attacks: what each needs, spends and is called."),
    "controls": ("listing", "List the controls: what each changes and which attacks know it."),
    "diff": ("diff", "Say what is worse, better or no longer known between two descriptions or two runs."),
    "gate": ("gate", "Decide by a small policy whether a change may go ahead. For CI."),
    "taxonomy": ("taxonomy", "Check what the rules cite of ATLAS and others, or read a new ATLAS release."),
}
_EXITS = "Exit codes: 0 nothing found, 1 findings, 2 could not tell (bad input, or evidence that does not decide)."


class _Lazy(click.Group):
    """A group that imports a command's module only when it is needed; help texts are known without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"casemate.app.{_COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, cmd_name)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from ..core.errors import UnknownName

            raise UnknownName("command", args[0], _COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, epilog=_EXITS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="casemate", prog_name="casemate")
def cli() -> None:
    """Who can attack the software with machine learning inside, what would it cost them, and what to do now.

    Start with `casemate init system.yaml`, or look at an example: `casemate assess examples/cheques/server.yaml`.
    """


def _kept() -> str:
    """What an interrupted command leaves behind: only those that measure store something."""
    measures = next((arg for arg in sys.argv[1:] if not arg.startswith("-")), "") in ("assess", "harden")
    return "; what was measured is stored, the same command goes on from there" if measures else ""


def main() -> None:
    """Run the command line; every failure is one clear message."""
    from ..core.errors import CasemateError
    from .echo import echo

    try:
        code = cli.main(prog_name="casemate", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        echo(text.getvalue(), err=True, nl=False)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        echo(f"\ninterrupted{_kept()}", err=True)
        sys.exit(2)
    except CasemateError as error:
        echo(f"casemate: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # `casemate ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        echo(f"casemate: {error}{_kept()}", err=True)
        sys.exit(2)
    except Exception as error:  # the last net: no traceback reaches a user
        if os.environ.get("CASEMATE_DEBUG"):
            raise
        echo(f"casemate: internal error, {type(error).__name__}: {error} (CASEMATE_DEBUG=1 shows where)", err=True)
        sys.exit(2)
