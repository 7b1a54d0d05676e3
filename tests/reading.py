"""`largek` with a record of what its client has read: `python reading.py RECORD KILL ARGUMENTS...`.

Each body that the openai engine is handed goes into the file RECORD, a line each, before the engine can do anything
with it. After the KILLth of them (0: never) the process kills itself at the first moment at which another step runs.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

from largek import cli
from largek.engine_openai import NoAnswer, OpenAI


def texts_read(record: Path) -> set[str]:
    """The texts of the answers in a record of bodies."""
    reader, found = SimpleNamespace(chat_template=True, info={}), set()
    for line in record.read_bytes().splitlines() if record.exists() else []:
        try:
            found.add(OpenAI.read(reader, line).text)
        except NoAnswer:
            continue
    return found - {""}


if __name__ == "__main__":
    record, left, post = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), [int(sys.argv[2])], OpenAI.post

    async def watched(self: OpenAI, *arguments) -> bytes:
        body = await post(self, *arguments)
        os.write(record, body + b"\n")
        left[0] -= 1
        if left[0] == 0:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGKILL)
        return body

    OpenAI.post = watched
    cli.main(sys.argv[3:])
