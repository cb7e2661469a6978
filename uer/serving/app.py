"""The page's server: one HTML file and a few JSON calls, for this machine alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from uer.config.generation import DecodingOptions
from uer.errors import ConfigError, EnvironmentFault, UerError
from uer.serving.abilities import Ability

HOST = "127.0.0.1"
PAGE = Path(__file__).with_name("page.html")
LONGEST = 20_000  # characters of a text
# Nothing is loaded from anywhere else, and no other page may show this one.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Question(BaseModel):
    """What all calls have."""

    model: int = Field(0, ge=0, le=1)
    text: str = Field(max_length=LONGEST)


class FillQuestion(Question):
    """A text with blanks."""

    topn: int = Field(10, ge=1, le=100)


class ClassifyQuestion(Question):
    """A text, perhaps with a second one."""

    second: str = Field("", max_length=LONGEST)


class AskQuestion(Question):
    """A passage, and what is asked of it."""

    question: str = Field(max_length=LONGEST)


class ContinueQuestion(Question):
    """A beginning, and how to go on."""

    top_k: int = Field(70, ge=0)
    top_p: float = Field(0.0, ge=0, le=1)
    temperature: float = Field(1.0, gt=0, le=10)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    max_new_tokens: int = Field(64, ge=1, le=4096)
    stop: list[str] = []
    seed: int | None = Field(None, ge=0)

    def options(self) -> DecodingOptions:
        """As the command line would have them."""
        values = self.model_dump(exclude={"model", "text"})
        return DecodingOptions(**{**values, "stop": tuple(values["stop"])})


def create_app(models: Sequence[Ability]) -> FastAPI:
    """The server over one or two opened models."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # A foreign page that has its own name point here gets no answer.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    pick = partial(_asked, models)

    @app.exception_handler(UerError)
    def refused(request: Request, error: UerError) -> JSONResponse:
        """A user's error as status 400 and one line."""
        return JSONResponse({"error": str(error)}, status_code=400)

    @app.get("/")
    def page() -> HTMLResponse:
        """The page."""
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers=HEADERS)

    @app.get("/api/models")
    def cards() -> list[dict[str, Any]]:
        """What each model is and can do."""
        return [model.card for model in models]

    @app.post("/api/fill")
    def fill(question: FillQuestion) -> dict[str, Any]:
        """The likeliest tokens at each blank."""
        return pick(question, "fill").run(question.text, question.topn)

    @app.post("/api/classify")
    def classify(question: ClassifyQuestion) -> dict[str, Any]:
        """The labels of a text or a pair."""
        return pick(question, "classify").run(question.text, question.second)

    @app.post("/api/tag")
    def tag(question: Question) -> dict[str, Any]:
        """The tags of words."""
        return pick(question, "tag").run(question.text)

    @app.post("/api/ask")
    def ask(question: AskQuestion) -> dict[str, Any]:
        """The answers in a text."""
        return pick(question, "ask").run(question.text, question.question)

    @app.post("/api/continue")
    def go_on(question: ContinueQuestion) -> StreamingResponse:
        """A text that is written while it is read, one JSON object a line."""
        parts = pick(question, "continue").stream(question.text, question.options())
        first = next(parts)  # what is wrong with the question is said before the stream begins
        return StreamingResponse(_lines(first, parts), media_type="application/x-ndjson")

    return app


def _asked(models: Sequence[Ability], question: Question, ability: str) -> Any:
    """The model that is asked.

    Raises:
        ConfigError: there is no such model, or it cannot do this.
    """
    if question.model >= len(models):
        raise ConfigError(f"there is no model number {question.model}; the page has {len(models)}.")
    model = models[question.model]
    if model.ability != ability:
        raise ConfigError(f"{model.described.path} cannot {ability}; it can {model.ability}.")
    return model


def _lines(first: dict[str, Any], parts: Iterator[dict[str, Any]]) -> Iterator[str]:
    """One JSON object a line."""
    try:
        yield json.dumps(first, ensure_ascii=False) + "\n"
        for part in parts:
            yield json.dumps(part, ensure_ascii=False) + "\n"
    finally:
        parts.close()


def listen(port: int) -> socket.socket:
    """A socket on this machine's loopback address; port 0 takes a free one.

    Raises:
        EnvironmentFault: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # whoever comes before the server is up waits, and is not turned away
    except OSError as error:
        listener.close()
        raise EnvironmentFault(
            f"port {port} of {HOST} cannot be used ({error.strerror}); name another one with --port, "
            "or 0 for any."
        ) from error
    return listener


def serve(models: Sequence[Ability], listener: socket.socket) -> None:
    """Answer until Ctrl-C."""
    server = uvicorn.Server(uvicorn.Config(create_app(models), log_level="warning", access_log=False))
    server.run(sockets=[listener])
