"""An OpenAI-compatible endpoint on loopback that can do what endpoints do: `with Endpoint(behaviour) as endpoint`.

`behaviour(number, body)` names what happens to a request, which is its number from 0 and its parameters: a key of
`BEHAVIOURS`, or "good". As a program, `python endpoint.py PORT BEHAVIOUR` does the same to all of them.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<html>the gateway is busy</html>"
TOO_LONG = {"error": {"message": "This model's maximum context length is 4096 tokens.", "code": 400}}
FINISHES = {"null": None, "filter": "content_filter", "abort": "abort", "max": "max_tokens", "tools": "tool_calls"}
# Status and body of replies that hold no answer.
ERRORS: dict[str, tuple[int, object]] = {
    "400": (400, TOO_LONG),
    "401": (401, {"error": {"message": "no such key"}}),
    "401 list": (401, [{"error": {"message": "no such key"}}]),
    "401 words": (401, {"error": "no such key"}),
    "401 page": (401, b"<p>not here</p>"),
    "odd param": (400, {"error": {"message": "unsupported", "param": ["seed"]}}),
    "404": (404, {"error": {"message": "no such model"}}),
    "422": (422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}),
    "429": (429, {"error": {"message": "slower, please", "code": "rate_limit_exceeded"}}),
    "quota": (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
    "500": (500, {"error": {"message": "a bug"}}),
    "503": (503, b"busy"),
    "null choices": (200, {"id": None, "choices": None, "error": {"message": "Provider returned error", "code": 429}}),
    "no choices": (200, {"id": "x", "choices": []}),
    "no message": (200, {"id": "x", "choices": [{"index": 0, "finish_reason": "stop"}]}),
    "null choice": (200, {"id": "x", "choices": [None]}),
    "error inside": (200, {"error": {"message": "upstream", "code": 502}}),
    "refusal inside": (200, TOO_LONG),
    "page": (200, PAGE),
    "half of JSON": (200, b'{"id": "x", "choi'),
    "a number": (200, 7),
    "nothing": (200, b""),
    "no UTF-8": (200, b"\xff\xfe{}"),
    "deep": (200, b"[" * 100_000),
}
REFUSALS: dict[str, Callable[[str], tuple[int, object]]] = {  # of one parameter
    "openai": lambda name: (
        400,
        {"error": {"message": f"Unsupported parameter: '{name}' is not supported with this model. Use another "
                   "instead.", "type": "invalid_request_error", "param": name, "code": "unsupported_parameter"}},
    ),
    "pydantic": lambda name: (
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]},
    ),
    "words": lambda name: (400, {"message": f"unrecognized request argument supplied: {name}"}),
    "short": lambda name: (422, {"error": {"message": f"extra fields not permitted: {name}"}}),
}  # fmt: skip
ECHOES: dict[str, Callable[[dict], tuple[int, object]]] = {  # refusals of a problem that repeat what was asked
    "quote": lambda body: (400, {"error": {"message": f"Unsupported content: {asked(body)!r}"}}),
    "long quote": lambda body: (400, {"error": {"message": f"Unsupported content: {asked(body)[:-9]}..."}}),
    "echo": lambda body: (422, {"detail": [{"loc": ["body", "messages"], "msg": "unknown role", "input": body}]}),
    "echo in words": lambda body: (400, {"message": f"unknown role in {body}"}),
}
SHAPES = ("delta", "text alone", "message is text")  # of a choice, other than what was asked for
SPOILED = {  # bytes of a good reply, and what is sent in their place
    "latin-1": ("\ufffd".encode(), b"\xe9"),
    "huge number": (b'"created": 1', b'"created": ' + b"1" * 5000),
}
BEHAVIOURS = [*ERRORS, *FINISHES, "cut", "reset", "parts", "thinking", "surrogate", "half pairs", "null message"]
BEHAVIOURS += ["null content", "huge usage", "no usage", "odd usage", "slow", *SHAPES, *SPOILED]


def asked(body: dict) -> str:
    return body["messages"][-1]["content"] if "messages" in body else body["prompt"]


class Endpoint(ThreadingHTTPServer):
    """`delivered` holds the text of every answer that went out whole, with the time; `bodies` what was asked."""

    daemon_threads = True
    request_queue_size = 1000

    def __init__(self, behaviour: Callable[[int, dict], str], port: int = 0, reply: str = r"\boxed{4}"):
        super().__init__(("127.0.0.1", port), Handler)
        self.behaviour, self.reply, self.lock = behaviour, reply, threading.Lock()
        self.bodies: list[dict] = []
        self.paths: set[str] = set()
        self.delivered: dict[str, float] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> "Endpoint":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request, address) -> None:
        """A client that is killed is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def log_message(self, *_) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.bodies)
            self.server.bodies.append(body)
            self.server.paths.add(self.path)
        behaviour = self.server.behaviour(number, body)
        if behaviour == "reset":
            self.close_connection = True
            return
        style, _, name = behaviour.partition(": ")
        if style in REFUSALS:  # such as "openai: max_tokens"
            self.send(*(REFUSALS[style](name) if name in body else (200, self.answer(number, body, "good")[1])))
        elif behaviour in ERRORS:
            self.send(*ERRORS[behaviour])
        elif behaviour in ECHOES:
            self.send(*ECHOES[behaviour](body))
        else:
            text, reply = self.answer(number, body, behaviour)
            time.sleep({"slow": 0.3, "stuck": 25}.get(behaviour, 0))
            if behaviour in SPOILED:
                reply = json.dumps(reply, ensure_ascii=False).encode().replace(*SPOILED[behaviour])
            if self.send(200, reply, cut=behaviour == "cut"):
                self.server.delivered[text] = time.monotonic()

    def answer(self, number: int, body: dict, behaviour: str) -> tuple[str, dict]:
        """The text that is to arrive, and a reply with it."""
        text = f"{self.server.reply} #{number}"
        message = {"role": "assistant", "content": text}
        if behaviour == "parts":
            message["content"] = [{"type": "text", "text": text[:3]}, {"type": "text", "text": text[3:]}]
        elif behaviour == "thinking":
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": "4 it is"}]}
            message["content"] = [thought, {"type": "text", "text": text}]
            text = f"<think>4 it is</think>{text}"
        elif behaviour == "latin-1":
            text = message["content"] = f"\ufffd{text}"
        elif behaviour == "surrogate":
            text, message["content"] = f"\ufffd{text}", f"\ud83d{text}"
        elif behaviour == "half pairs":
            parts = [{"type": "text", "text": part} for part in ("\ud83d", f"\ude00{text}")]
            text, message["content"] = f"\U0001f600{text}", parts
        choice = {"index": 0, "finish_reason": FINISHES.get(behaviour, "stop"), "message": message, "text": text}
        if behaviour == "null message":
            text, choice = "", choice | {"message": None, "text": None, "finish_reason": "content_filter"}
        elif behaviour == "null content":
            text, choice = "", choice | {"message": {"role": "assistant", "content": None}, "text": None}
        elif behaviour in SHAPES:
            said = {"delta": {"delta": message}, "text alone": {"text": text}, "message is text": {"message": text}}
            choice = {"index": 0, "finish_reason": "stop", **said[behaviour]}
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        usage = {"huge usage": usage | {"completion_tokens": 2**33}, "no usage": None}.get(behaviour, usage)
        usage = [7] if behaviour == "odd usage" else usage
        reply = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
        return text, reply | {"choices": [choice], "usage": usage, "system_fingerprint": "fp"}

    def send(self, status: int, reply: object, cut: bool = False) -> bool:
        """Whether the whole reply went out."""
        content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if reply is PAGE else "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status == 429:
            self.send_header("Retry-After", "0.01")
        try:
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
            self.wfile.flush()
        except OSError:
            cut = True
        self.close_connection = self.close_connection or cut
        return not cut


if __name__ == "__main__":
    Endpoint(lambda number, body: sys.argv[2], int(sys.argv[1])).serve_forever()
