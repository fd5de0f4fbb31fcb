"""``python -m asbru`` is ``asbru``."""

from asbru.cli import main

main(prog_name="asbru")
