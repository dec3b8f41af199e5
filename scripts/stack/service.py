"""The command line as a service that is started again when it dies: `python -m scripts.stack.service train NAME`.

An error that was explained to the racer would be the same again, so it ends the service with status 0, which Docker
does not restart, and its real status stands in one of the last lines of the log.
"""

import re
import sys

from scripts import cli

EXPLAINED = (cli.FAILED, cli.BAD_INPUT)
_ENDED = "ended with status {}"
_ENDED_LINE = rf"^{_ENDED.format('([0-9]+)')}\s*$"


def status_of(log: str, exit_code: int) -> int:
    """The command's own status, from the end of its log and the process's exit code. The line need not be the last one:
    Docker reads what a process prints and its errors separately."""
    found = re.findall(_ENDED_LINE, log, re.MULTILINE)
    return int(found[-1]) if found else exit_code


def main() -> None:
    """Run the command line."""
    try:
        cli.main()
    except SystemExit as ended:
        if ended.code not in EXPLAINED:
            raise
        sys.stderr.flush()
        print(_ENDED.format(ended.code), flush=True)


if __name__ == "__main__":
    main()
