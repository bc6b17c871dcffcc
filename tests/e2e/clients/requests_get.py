import os

import requests

answer = requests.get("https://api.github.com/user", headers={"Authorization": "token " + os.environ["GITHUB_TOKEN"]})
print(answer.status_code, answer.json()["login"])
