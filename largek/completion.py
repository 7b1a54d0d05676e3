"""Completion of `largek` in a shell: `largek --print-completion bash`. Nothing else needs shtab, which writes it."""

import argparse

from largek.common import extra

SHELLS = ["bash", "zsh", "tcsh"]
FOLDERS = {"FOLDER", "DIR"}
FILES = {
    "FILE",
    "YAML",
    "TASK",
    "SAMPLES",
    "GRADES",
    "STORE",
    "CHECKPOINT",
    "MODEL",
}  # or folders: the shell offers both


class PrintCompletion(argparse.Action):
    """Prints the script that completes commands, options and files, and ends the program, as --version does."""

    def __call__(self, parser, namespace, values, option_string=None):
        try:
            import shtab
        except ImportError as error:
            parser.exit(2, f"largek: error: {error}; {extra('completion')}\n")
        (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        for command in commands.choices.values():
            for action in command._actions:
                if action.metavar in FOLDERS:
                    action.complete = shtab.DIRECTORY
                elif action.metavar in FILES or action.dest in ("model", "few_shot"):
                    action.complete = shtab.FILE
        print(shtab.complete(parser, shell=values))
        parser.exit()
