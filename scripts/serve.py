"""Try a model, or two side by side, on a page of this machine: fill, continue, classify, tag, ask."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Chosen, Command, run
from uer.config.model import ModelConfig
from uer.config.tokenizer import TokenizerOptions
from uer.config.tools import ServeOptions
from uer.opts.saved import saved_model_command


class ServeCommand(Command):
    """Model flags describe the first model, where it does not say by itself what it is."""

    def _companion(self, written: dict[str, Any]) -> Any:
        ServeOptions(load_model_path=written.get(self.model_flag))  # not more models than it takes
        return super()._companion(self._of_first(written))

    def _config(self, path: str | None, companion: Any, written: dict[str, Any]) -> Any:
        return super()._config(path, companion, self._of_first(written))

    def _of_first(self, written: dict[str, Any]) -> dict[str, Any]:
        return {**written, self.model_flag: next(iter(written.get(self.model_flag) or ()), None)}


COMMAND = saved_model_command("scripts/serve.py", __doc__, ServeOptions, command=ServeCommand)


def main(argv: list[str] | None = None) -> int:
    """Options → models → page, until Ctrl-C."""
    chosen = COMMAND.start(argv)
    options = chosen[ServeOptions]

    from uer.utils.lazy import optional

    for package in ("fastapi", "uvicorn"):
        optional(package, "serve")
    from uer.serving.abilities import open_ability
    from uer.serving.app import listen, serve
    from uer.serving.model import describe

    listener = listen(options.port)
    described = [first_model(chosen, argv), *(describe(path) for path in options.load_model_path[1:])]
    models = [open_ability(model, options.precision, options.seq_length) for model in described]
    host, port = listener.getsockname()
    print(f"Open http://{host}:{port} in a browser of this machine; Ctrl-C ends.", flush=True)
    serve(models, listener)
    return 0


def first_model(chosen: Chosen, argv: list[str] | None) -> Any:
    """The first model, as its companion or the flags describe it; the page repeats those flags."""
    from uer.opts.tokenizer import chosen_tokenizer
    from uer.serving.model import Described, describe

    path = chosen[ServeOptions].load_model_path[0]
    if chosen.companion is not None and chosen.companion.tokenizer is not None:
        return describe(path)
    typed = COMMAND.parser.written(argv)
    named = {*ModelConfig.names(), *TokenizerOptions.names(), "config_path"} & typed.keys()
    flags = [word for name in sorted(named) for word in words(name, typed[name])]
    return Described(
        path,
        chosen[ModelConfig],
        chosen_tokenizer(chosen),
        chosen.companion,
        flags=tuple(flags),
        described=chosen.companion is not None or "target" in chosen.written,
        extra={} if chosen.companion is None else chosen.companion.extra,
    )


def words(name: str, value: Any) -> list[str]:
    """A flag as it is typed."""
    if value is True:
        return [f"--{name}"] if isinstance(getattr(ModelConfig, name, None), bool) else [f"--{name}", "true"]
    return [f"--{name}", *map(str, value if isinstance(value, (list, tuple)) else [value])]


if __name__ == "__main__":
    sys.exit(run(main))
