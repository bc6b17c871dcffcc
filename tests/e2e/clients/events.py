import os
import time

import httpx

headers = {"Authorization": "Bearer " + os.environ["ECHO_TOKEN"]}
times = []
with httpx.stream("GET", "https://kit.echo.test/events/5/100", headers=headers) as answer:
    for line in answer.iter_lines():
        if line.startswith("data:"):
            times.append(time.monotonic())
print(len(times), "events over", int((times[-1] - times[0]) * 1000))
