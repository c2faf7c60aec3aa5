"""``python -m crdtsync.cli``: the command line where no script is installed."""

from crdtsync.cli import main

main(prog_name="crdtsync")
