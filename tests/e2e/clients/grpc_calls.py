"""Calls by grpcio, a line of words each: METHOD and how it streams (`unary`, `up`, `both`). Prints the status of each."""

import os
import sys

import grpc

with open(os.environ["SSL_CERT_FILE"], "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
metadata = [("authorization", "Bearer " + os.environ["ECHO_TOKEN"])]
with grpc.secure_channel("kit.echo.test:443", credentials) as channel:
    for method, streams in zip(sys.argv[1::2], sys.argv[2::2]):
        try:
            if streams == "unary":
                channel.unary_unary(method)(b"hello", timeout=20, metadata=metadata)
            elif streams == "up":
                channel.stream_unary(method)(iter([b"one"] * 50), timeout=20, metadata=metadata)
            else:
                list(channel.stream_stream(method)(iter([b"one"] * 50), timeout=20, metadata=metadata))
            print(method, streams, "OK")
        except grpc.RpcError as error:
            print(method, streams, error.code().name)
