"""`python -m benchmarks NAME`, with tests/ on the path: what `make bench` runs."""

import sys

from benchmarks.harness import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
