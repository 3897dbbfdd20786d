"""``python -m geocsp``."""

from geocsp.cli import main

if __name__ == "__main__":
    main()
