"""The command line as a test calls it."""

import shlex

from llmnotes import __main__ as cli


def called(capsys, command):
    """Run a command: exit status, lines on stdout, lines on stderr."""
    try:
        status = cli.main(shlex.split(command))
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    return status, out.splitlines(), err.splitlines()
