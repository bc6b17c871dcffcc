import os

import grpc

with open(os.environ["SSL_CERT_FILE"], "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
with grpc.secure_channel("kit.echo.test:443", credentials) as channel:
    say = channel.unary_unary("/test.Echo/Say")
    answer = say(b"hello", timeout=20, metadata=[("authorization", "Bearer " + os.environ["ECHO_TOKEN"])])
print("echo:", answer.decode())
