import os

import httpx

with httpx.Client(http2=True) as client:
    answer = client.get("https://api.github.com/user", headers={"Authorization": "Bearer " + os.environ["GITHUB_TOKEN"]})
print(answer.http_version, answer.json()["login"])
