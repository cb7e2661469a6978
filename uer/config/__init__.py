"""What can be chosen, as frozen dataclasses: the model (`model`), and each kind of run, one file a group.

Every field carries its help, its choices and its check (`options.option`); the command line is generated
from them (`uer.opts`), so a choice is declared once. Importing this package imports nothing heavy.
"""
