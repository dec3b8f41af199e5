"""`python -m undercut` is the command line."""

from undercut.cli.main import main

if __name__ == "__main__":
    main()
