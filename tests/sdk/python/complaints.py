"""Collects the warnings and log records of the SDK and of what it uses, so that a script can fail on them."""

import logging
import sys
import warnings


class Complaints(logging.Handler):
    """Everything warned of, and everything logged as a warning or worse, from now on."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []
        logging.getLogger().addHandler(self)
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, category, *_: self.texts.append(f"{category.__name__}: {message}")

    def emit(self, record):
        self.texts.append(f"{record.name}: {record.getMessage()}")

    def exit_on_any(self, but=()):
        """Exits with 1 if there is one that holds none of the texts in `but`."""
        unexpected = [text for text in self.texts if not any(part in text for part in but)]
        if unexpected:
            print("the SDK complained:", *unexpected, sep="\n  ", file=sys.stderr)
            sys.exit(1)
