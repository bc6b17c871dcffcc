import asyncio
import os

import websockets


async def main():
    headers = {"Authorization": "Bearer " + os.environ["ECHO_TOKEN"]}
    async with websockets.connect("wss://kit.echo.test/ws", additional_headers=headers) as socket:
        print("greeting:", await socket.recv())
        await socket.send("hello")
        print("echo:", await socket.recv())
        await socket.send(b"x" * 200_000)
        assert await socket.recv() == b"x" * 200_000


asyncio.run(main())
