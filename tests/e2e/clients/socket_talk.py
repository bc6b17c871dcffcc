"""Says each word on a WebSocket and prints what comes back: `text:X`, `binary:X`, `parts:A|B` (fragments), `wait`."""

import asyncio
import os
import sys

import websockets


async def main(url, words):
    headers = {"Authorization": "Bearer " + os.environ["CHAT_TOKEN"]}
    async with websockets.connect(url, additional_headers=headers) as socket:
        print("open", [extension.name for extension in socket.protocol.extensions], flush=True)
        try:
            for word in [None, *words]:
                kind, _, text = (word or "").partition(":")
                if kind == "text":
                    await socket.send(text)
                elif kind == "binary":
                    await socket.send(text.encode())
                elif kind == "parts":
                    await socket.send(text.split("|"))
                got = await socket.recv()
                print("binary" if isinstance(got, bytes) else "text", got if isinstance(got, str) else got.decode(), flush=True)
        except websockets.ConnectionClosed as closed:
            frame = closed.rcvd
            print("closed", frame.code if frame else 1006, frame.reason if frame else "")


asyncio.run(main(sys.argv[1], sys.argv[2:]))
