"""The frame of every script: flags and JSON configs become options, errors one line and an exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from uer.config.model import ModelConfig
from uer.config.options import Options
from uer.config.preprocess import MaskingOptions
from uer.config.run import LogOptions
from uer.errors import ConfigError, DataError, UerError, suggestion
from uer.opts.compat import COMPATIBILITY, add_compatibility_flags, compatibility_notes
from uer.opts.dialects import translate
from uer.opts.flags import FlagParser, add_flags
from uer.opts.foreign import GONE, HUGGING_FACE_KEYS
from uer.opts.paths import check_paths
from uer.utils.files import repository_root, write_fault
from uer.utils.jsons import parse_json
from uer.utils.logging import init_logger, logger

G = TypeVar("G", bound=Options)

# Flat names of older documents, resolved beside the folder that was typed.
OLD_CONFIGS = {
    "rnn_config.json": "rnn/lstm_config.json",
    "birnn_config.json": "rnn/bilstm_config.json",
    "bilstm_config.json": "rnn/bilstm_config.json",
    "gatedcnn_9_config.json": "cnn/gatedcnn_9_config.json",
    "gatedcnn_13_config.json": "cnn/gatedcnn_13_config.json",
    "encoder_decoder_config.json": "transformer/base_config.json",
    "gpt2_config.json": "gpt2/config.json",
    "gpt2_distil_config.json": "gpt2/distil_config.json",
    **{
        f"bert_{size}_config.json": f"bert/{size}_config.json" for size in ("tiny", "mini", "small", "medium")
    },
    **{f"bert_{size}_config.json": f"bert/{size}_config.json" for size in ("base", "large", "xlarge")},
}
# Values that a saved model may differ in without being another model.
FREE_KEYS = {"dropout", "label_smoothing", "prefix_lm_loss"}
# Torch then asks the kernel for pages of 2 MB for large tensors: a step of a small model takes 3 % less time.
ENVIRONMENT = {"THP_MEM_ALLOC_ENABLE": "1"}
GARBAGE_AFTER = 100_000  # new objects until Python looks for garbage; its default is 700
# Keys of a JSON config about heads that a fine-tuned model no longer has.
HEAD_KEYS = {"target", "tie_weights", "share_embedding", "has_lmtarget_bias", "pooling", "labels_num"}


def resolve_config_path(path: str) -> tuple[Path, str | None]:
    """The file behind `--config_path`, and a line to say when an older flat name was meant.

    Raises:
        DataError: neither the file nor what the old name stands for exists.
    """
    typed = Path(path)
    if typed.is_file():
        return typed, None
    if typed.name in OLD_CONFIGS:
        new = typed.parent / OLD_CONFIGS[typed.name]
        if new.is_file():
            return new, f"{typed} is an older name of {new}; that file is read."
    near = [str(file) for file in typed.parent.glob("**/*.json")] if typed.parent.is_dir() else []
    found = "is a folder" if typed.is_dir() else "does not exist"
    raise DataError(
        f"{found}; name a JSON config that exists with --config_path.{suggestion(path, near)}", path=path
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        DataError: not UTF-8, not JSON (with the line), or no object.
    """
    try:
        values = parse_json(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 (byte {error.start}); save the JSON as UTF-8.", path=path) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"is not valid JSON: {error.msg} at column {error.colno}.", path=path, line=error.lineno
        ) from error
    if not isinstance(values, dict):
        raise DataError(
            f"holds a {type(values).__name__}; a config is a JSON object of keys and values.", path=path
        )
    return values


class Chosen:
    """What a run was told, as checked dataclasses: `chosen[ModelConfig]`.

    Attributes:
        written: the typed flags, in the words of 2024.
        config: the keys that came from the JSON config or from the model's companion folder.
        companion: the companion of the model that `--pretrained_model_path` or `--load_model_path` names.
        objective_2021: the 2021 objective that was typed or stands in the config, or None.
        words: what was typed without a flag.
        config_path: the JSON config that was typed, or None.
        starts: the companion is of a model that another one starts from.
    """

    def __init__(
        self, groups: dict[type[Options], Options], written: dict, config: dict, companion: Any
    ) -> None:
        self._groups, self.written, self.config, self.companion = groups, written, config, companion
        self.notes: list[str] = []
        self.words: list[str] = []
        self.config_path: str | None = None
        self.starts = False
        self.objective_2021 = written.get("objective_2021", config.get("objective_2021"))

    def __getitem__(self, group: type[G]) -> G:
        return self._groups[group]  # type: ignore[return-value]

    @property
    def data_processor(self) -> str | None:
        """The data processor that flags or config name, or None."""
        return self.written.get("data_processor", self.config.get("data_processor"))

    def effective(self) -> dict[str, Any]:
        """All values of all groups, for `--print_config` and the run's record."""
        out: dict[str, Any] = {}
        for group in self._groups.values():
            out.update(group.to_dict())
        return out

    def start_log(self) -> None:
        """Set up the logger as the flags say, and say what is to be said about them."""
        options = self._groups[LogOptions]
        screen, file = (
            "DEBUG" if options.verbose else level for level in (options.log_level, options.log_file_level)
        )
        init_logger(options.log_path, screen, file)
        for note in self.notes:
            logger.info(note)


class Command:
    """The flags of one script.

    Args:
        prog: the script's name as the user types it.
        description: one or two sentences for `--help`.
        groups: option dataclasses; `LogOptions` is added to every script.
        compat: names of compatibility flags (`uer.opts.compat`).
        model: how the model is described. "none": no model flags; "new": flags and `--config_path` (default:
            BERT base); "saved": the companion folder describes it, flags may repeat but not contradict
            it, and `--config_path` is needed only where there is no companion.
        model_flag: the flag that names a saved model.
        words: (metavar, nargs, help) of the words a script takes without a flag; `Chosen.words` has them.
        epilog: shown under the flags.
        free: model flags in which this script may differ from the saved model (as in `FREE_KEYS`).
    """

    def __init__(
        self,
        prog: str,
        description: str,
        *groups: type[Options],
        compat: tuple[str, ...] = (),
        model: str = "none",
        model_flag: str = "pretrained_model_path",
        words: tuple[str, str | int | None, str] | None = None,
        epilog: str = "",
        free: tuple[str, ...] = (),
    ) -> None:
        assert model in ("none", "new", "saved")
        self.groups = (*groups, LogOptions)
        self.model, self.model_flag, self.compat = model, model_flag, compat
        self.free = FREE_KEYS | set(free)
        self.parser = FlagParser(prog=prog, description=description, epilog=epilog)
        if model != "none":
            self.parser.add_argument(
                "--config_path", metavar="FILE", default=None, help="JSON config; typed flags win over it"
            )
        if words is not None:
            metavar, nargs, help_text = words
            self.parser.add_argument("words", metavar=metavar, nargs=nargs, help=help_text)
        for group in self.groups:
            add_flags(self.parser, group)
        add_compatibility_flags(self.parser, compat)
        self.parser.add_argument(
            "--print_config", action="store_true", help="print the effective configuration as JSON and stop"
        )

    def parse(self, argv: list[str] | None) -> Chosen:
        """Defaults < JSON (or companion) < command line, checked.

        Raises:
            ConfigError: unknown flag or key, bad value, senseless combination, missing required flag.
            SystemExit: after `--help` and `--print_config`.
        """
        typed = self.parser.written(argv)
        print_config, config_path = typed.pop("print_config"), typed.pop("config_path", None)
        words = typed.pop("words", [])
        notes = compatibility_notes({name: typed[name] for name in self.compat if name in typed})
        written = translate(typed, "--")
        companion = self._companion(written)
        config, note = self._config(config_path, companion, written)
        notes += compatibility_notes(config, "the key ")
        values = {**config, **written}
        self._check_required(values)
        chosen = Chosen({group: group.pick(values) for group in self.groups}, written, config, companion)
        check_paths(chosen.effective())
        chosen.words = words if isinstance(words, list) else [words]
        chosen.config_path, chosen.starts = config_path, self.model == "new"
        chosen.notes = notes + ([note] if note else [])
        if print_config:
            print(json.dumps(chosen.effective(), ensure_ascii=False, indent=2))
            raise SystemExit(0)
        return chosen

    def start(self, argv: list[str] | None) -> Chosen:
        """`parse`, then the log as the flags say; what a script begins with."""
        chosen = self.parse(argv)
        chosen.start_log()
        return chosen

    def _check_required(self, values: dict[str, Any]) -> None:
        missing = [
            f"--{field.name}"
            for group in self.groups
            for field in dataclasses.fields(group)
            if field.metadata["required"] and values.get(field.name) is None
        ]
        if missing:
            raise ConfigError(
                f"{', '.join(missing)} must be given; --help lists what {self.parser.prog} takes."
            )

    def _companion(self, written: dict[str, Any]) -> Any:
        """The companion of the saved model that was named, if it has one."""
        path = written.get(self.model_flag)
        if self.model == "none" or path is None:
            return None
        from uer.checkpoints import read_companion

        return read_companion(path)

    def _config(
        self, path: str | None, companion: Any, written: dict[str, Any]
    ) -> tuple[dict[str, Any], str | None]:
        """The layer between defaults and command line, and a note about the file's name."""
        if self.model == "none":
            return {}, None
        saved = companion.config.to_dict() if companion is not None else None
        note = None
        if path is None:
            if saved is not None:
                config: dict[str, Any] = saved
            elif self.model == "saved" and written.get(self.model_flag) is not None:
                from uer.checkpoints.io import check_exists

                check_exists(written[self.model_flag], f"--{self.model_flag}")
                raise ConfigError(
                    f"{written[self.model_flag]} has no companion folder that says what model it is; "
                    "describe it with --config_path (and the model flags it was trained with)."
                )
            else:
                file = repository_root() / "models" / "bert" / "base_config.json"
                config = self._read_config(file)
        else:
            file, note = resolve_config_path(path)
            config = self._read_config(file)
        if self.model == "saved" and saved is not None:
            self._refuse_contradictions(saved, config if path else {}, written, str(path))
            config = {**config, **saved}
        return config, note

    def _read_config(self, file: Path) -> dict[str, Any]:
        """A JSON config in the words of 2024; every key must mean something to some script."""
        values = read_json(file)
        known = {
            *ModelConfig.names(),
            "data_processor",
            "target_weights",
            *MaskingOptions.names(),
            *COMPATIBILITY,
            *(n for g in self.groups for n in g.names()),
        }
        if HUGGING_FACE_KEYS & values.keys():
            raise ConfigError(
                f"{file} is the config of a Hugging Face model; give the folder in which its weights and "
                "vocabulary lie as the model, and leave --config_path out, or name a config of models/."
            )
        for key in values:
            if key not in known:
                advice = f": {GONE[key]}." if key in GONE else f".{suggestion(key, known)}"
                raise ConfigError(f"{file}: the key '{key}' is unknown{advice}")
        return translate(values, str(file))

    def _refuse_contradictions(self, saved: dict, config: dict, written: dict, path: str) -> None:
        """A saved model says what it is; whoever says otherwise is told."""
        for source, values, free in (
            ("", written, self.free),
            (f"{path}: ", config, self.free | HEAD_KEYS),
        ):
            for key, value in values.items():
                value = list(value) if isinstance(value, tuple) else value
                if key in saved and key not in free and value != saved[key]:
                    name = f"{source}{key}" if source else f"--{key}"
                    raise ConfigError(
                        f"{name} is {value!r}, but the companion folder of --{self.model_flag} says "
                        f"{saved[key]!r}; leave it out (the saved model says by itself what it is)."
                    )


def run(main: Callable[[list[str] | None], int | None], argv: list[str] | None = None) -> int:
    """Run a script's `main` and turn what a user can mend into one line on stderr.

    Returns:
        0 when it went well, 2 for a `UerError`, 130 for Ctrl-C, 141 when the reader of stdout went away.
    """
    # Importing torch makes a million objects that stay; to look for garbage among them takes an eighth of it.
    gc.set_threshold(GARBAGE_AFTER, *gc.get_threshold()[1:])
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return main(argv) or 0
    except UerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        from uer.training.memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        said = str(error).strip().partition("\n")[0]
        less = "a smaller --batch_size, shorter texts or a smaller model take less"
        print(f"error: memory ran out; {less}{f' ({said})' if said else ''}.", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        if error.filename is None:  # what is still to be written would be tried again at the exit
            with contextlib.suppress(OSError):
                sys.stdout.close()
        print(f"error: {write_fault(error.filename or 'standard output', error)}", file=sys.stderr)
        return 2
