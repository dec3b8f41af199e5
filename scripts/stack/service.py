"""The command line as a service that is started again when it dies: `python -m scripts.stack.service train NAME`.

An error that was explained to the racer would be the same again, so it ends the service with status 0, which Docker
does not restart, and its real status stands in the last line of the log.
"""

import re
import sys

from scripts import cli

EXPLAINED = (1, 2)
_ENDED = "ended with status {}"


def status_of(last_line: str, exit_code: int) -> int:
    """The command's own status, from the last line of its log and the process's exit code."""
    found = re.fullmatch(_ENDED.format(r"(\d+)"), last_line.strip())
    return int(found[1]) if found else exit_code


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
