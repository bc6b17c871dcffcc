"""ORIGIN in Python: an echo over TLS on asyncio, reading HTTP/1.1 by hand and as it stands.

usage: origin.py CERT KEY JOURNAL; prints its port. One JSON object a request goes to the journal:
{"method", "target", "headers": [[name, value]], "body": base64}.
"""

import asyncio
import base64
import json
import ssl
import sys


async def read_chunked(reader):
    body = b""
    while True:
        size = int((await reader.readline()).split(b";")[0].strip() or b"0", 16)
        if size == 0:
            while (await reader.readline()).strip():
                pass
            return body
        body += await reader.readexactly(size)
        await reader.readexactly(2)


async def read_request(reader):
    line = (await reader.readline()).decode("latin-1").rstrip("\r\n")
    if not line:
        return None
    method, target, _ = line.split(" ", 2)
    headers = []
    while True:
        line = (await reader.readline()).decode("latin-1").rstrip("\r\n")
        if not line:
            break
        name, _, value = line.partition(":")
        headers.append([name, value.strip()])
    fields = {name.lower(): value for name, value in headers}
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = await read_chunked(reader)
    else:
        body = await reader.readexactly(int(fields.get("content-length") or 0))
    return {"method": method, "target": target, "headers": headers, "body": base64.b64encode(body).decode()}


def serve(journal):
    async def connection(reader, writer):
        try:
            while True:
                request = await read_request(reader)
                if request is None:
                    break
                journal.write(json.dumps(request) + "\n")
                journal.flush()
                answer = json.dumps(request).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
                writer.write(head.encode() + (b"" if request["method"] == "HEAD" else answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, ssl.SSLError):
            pass
        finally:
            writer.close()

    return connection


async def main(cert, key, path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    with open(path, "a", encoding="utf-8") as journal:
        server = await asyncio.start_server(serve(journal), "127.0.0.1", 0, ssl=context)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
