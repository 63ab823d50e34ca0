"""A small shell: enough of POSIX sh for what a harness sends, and a clear word about the rest."""
