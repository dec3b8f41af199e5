"""The command line as a service that is started again when it dies:
`python -m undercut.backends.compose.service train NAME`.

An error that was explained to the racer would be the same again, so it ends the service with status 0, which Docker
does not restart, and its real status stands in one of the last lines of the log.
"""

import sys

from undercut.cli import main as cli
from undercut.exit_codes import ENDED, EXPLAINED


def main() -> None:
    """Run the command line."""
    try:
        cli.main()
    except SystemExit as ended:
        if ended.code not in EXPLAINED:
            raise
        sys.stderr.flush()
        print(ENDED.format(ended.code), flush=True)


if __name__ == "__main__":
    main()
